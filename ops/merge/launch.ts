import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { MERGE_THREADS } from "../../kernels/attention/merge.ts";
import { mergePair, type MergeSide } from "../../kernels/attention/merge_pair.ts";
import { boundRows } from "../attention/bind.ts";
import { once } from "../once.ts";
import { tokenTextures } from "../token_textures.ts";
import type { MergePart, MergeProblem } from "./problem.ts";

const mergePrograms = once(mergePair);

/** Two results and where theirs is written. */
export interface Pair {
  readonly one: MergePart;
  /** The same as `one` where there is no second result. */
  readonly other: MergePart;
  readonly merged: Pick<MergePart, "out" | "aux">;
}

/** Where a merge is recorded. */
export interface MergeCall {
  readonly operation: Operation;
  readonly gpu: Gpu;
  readonly problem: MergeProblem;
}

/** Records the merge of two results, in as many launches as limits ask for. */
export function launchPair(pair: Pair, { operation, gpu, problem }: MergeCall): void {
  const { one, other, merged } = pair;
  const { rows, heads, valueDim, rule, renormalize } = problem;
  const { limits } = gpu;
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const textures = tokenTextures(operation, gpu, {
    one: { tensor: one.out, width: valueDim },
    other: { tensor: other.out, width: valueDim },
  });
  const program = mergePrograms({
    one: sideOf(one, textures.one),
    other: sideOf(other, textures.other),
    outElem: elemOf(merged.out),
    ...{ valueDim, rule, renormalize },
  });
  const columns = Math.ceil(valueDim / 4);
  const bound = Math.floor(limits.maxStorageBufferBindingSize / (4 * valueDim)) - 256;
  const threads = limits.maxComputeWorkgroupsPerDimension * MERGE_THREADS;
  const step = Math.max(1, Math.min(rows, bound, Math.floor(threads / columns)));
  for (let row0 = 0; row0 < rows; row0 += step) {
    const row1 = Math.min(rows, row0 + step);
    const [a, b, out] = [one, other, merged].map((part) =>
      boundRows(part.out, [row0, row1], valueDim, alignment)
    );
    // one f32 a row in each of these tensors, so that all of them start with the same row
    const numbers = numbersOf(pair).map(([name, tensor]) =>
      [name, boundRows(tensor, [row0, row1], 1, alignment)] as const
    );
    operation.launch({
      program,
      resources: {
        ...{ one: a.resource, other: b.resource, out: out.resource, ...textures },
        ...Object.fromEntries(numbers.map(([name, { resource }]) => [name, resource])),
        ...perHead(pair),
      },
      params: {
        row0,
        row1,
        second: Number(other !== one),
        heads,
        oneFirst: a.first,
        otherFirst: b.first,
        outFirst: out.first,
        auxFirst: numbers.at(0)?.[1].first ?? 0,
        oneTimes: one.coefficient.value,
        otherTimes: other.coefficient.value,
      },
      grid: [Math.ceil((row1 - row0) * columns / MERGE_THREADS), 1, 1],
    });
  }
  // of many parts no more than two are copied at a time
  for (const texture of Object.values(textures)) operation.giveBack(texture);
}

function sideOf({ out, coefficient }: MergePart, texture: GPUTextureView | undefined): MergeSide {
  return {
    elem: elemOf(out),
    source: texture ? "texture" : "buffer",
    coefficient: coefficient.source,
  };
}

function elemOf({ dtype }: Tensor): "f32" | "f16" {
  return dtype === "f16" ? "f16" : "f32";
}

/** The tensors that have a number a row, by binding. */
function numbersOf({ one, other, merged }: Pair): [name: string, tensor: Tensor][] {
  return Object.entries({
    ...{ oneAux: one.aux, otherAux: other.aux, aux: merged.aux },
    oneCoefficients: tensorFrom("rows", one),
    otherCoefficients: tensorFrom("rows", other),
  }).filter((entry): entry is [string, Tensor] => entry[1] !== null);
}

/** The coefficients that have a number a head, by binding. */
function perHead({ one, other }: Pair): Record<string, { buffer: GPUBuffer }> {
  const tensors = {
    oneCoefficients: tensorFrom("heads", one),
    otherCoefficients: tensorFrom("heads", other),
  };
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      tensor === null ? [] : [[name, { buffer: tensor.buffer }]]
    ),
  );
}

function tensorFrom(source: "rows" | "heads", { coefficient }: MergePart): Tensor | null {
  return coefficient.source === source ? coefficient.tensor : null;
}
