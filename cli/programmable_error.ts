import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attention } from "../ops/attention/mod.ts";
import type { AttentionOptions } from "../ops/attention/problem.ts";
import { compareHeads } from "./compare.ts";
import type { HookPair } from "./hook_pairs.ts";
import type { HookTable } from "./hook_table.ts";
import type { HostTensor } from "./host_tensor.ts";
import {
  plainOptions,
  type ProgrammableCase,
  type ProgrammableInputs,
  programmableInputs,
} from "./programmable_case.ts";
import { loadKeys } from "./programmable_keys.ts";
import { programmableReference } from "./programmable_reference.ts";

/** Computes a case and compares out and aux with float64; the worse ratio. */
export async function programmableError(gpu: Gpu, c: ProgrammableCase): Promise<number> {
  const inputs = programmableInputs(c);
  const [out, aux] = gpu.scope(() => {
    const { q, k, v, ...beside } = uploaded(gpu, inputs);
    const { out, aux } = attention(q, k, v, { ...beside, ...optionsOf(gpu, c) });
    return [out, aux];
  });
  const [outData, auxData] = [await out.read(), await aux?.read()];
  out.dispose();
  aux?.dispose();
  const expected = programmableReference(c, inputs);
  return Math.max(
    compareHeads(outData, expected.out, c.heads, c.valueDim).ratio,
    auxData === undefined ? 0 : compareHeads(auxData, expected.aux, c.heads, 1).ratio,
  );
}

function uploaded(
  gpu: Gpu,
  { q, k, v, bias, sinks }: ProgrammableInputs,
): Record<"q" | "k" | "v", Tensor<"f32">> & { bias?: Tensor; sinks?: Tensor } {
  const upload = ({ data, shape }: HostTensor): Tensor<"f32"> =>
    gpu.tensor(data, shape) as Tensor<"f32">;
  return {
    ...{ q: upload(q), k: upload(k), v: upload(v) },
    ...(bias && { bias: upload(bias) }),
    ...(sinks && { sinks: upload(sinks) }),
  };
}

/** What the operator is given beside those tensors. */
function optionsOf(gpu: Gpu, c: ProgrammableCase): AttentionOptions {
  const hook = ({ code, inputs }: HookPair<unknown>) => ({ code, inputs: inputsOf(gpu, inputs) });
  const masks = c.masks.map(hook);
  const keys = loadKeys(gpu, c, masks);
  return {
    ...plainOptions(c),
    ...(c.scores.length > 0 && { score: c.scores.map(hook) }),
    ...(masks.length > 0 && keys.blockMap === undefined && { mask: masks }),
    ...keys,
    weight: c.weight.wgsl,
    aux: true,
    schedule: c.schedule,
  };
}

function inputsOf(
  gpu: Gpu,
  inputs: Readonly<Record<string, HookTable | number>>,
): Record<string, Tensor | number> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => [
      name,
      typeof value === "number" ? value : gpu.tensor(value.data as Float32Array, value.shape),
    ]),
  );
}
