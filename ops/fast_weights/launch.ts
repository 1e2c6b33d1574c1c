import { volume } from "../../gpu/dtype.ts";
import type { Program } from "../../gpu/program.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  FAST_INPUTS,
  FAST_NAMES,
  type FastConfig,
  fastWidth,
} from "../../kernels/fast_weights/config.ts";
import { naiveFastThreads, naiveFastWeights } from "../../kernels/fast_weights/naive.ts";
import { fastWalk, type FastWalkConfig } from "../../kernels/fast_weights/walk.ts";
import { boundRows } from "../attention/bind.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { once } from "../once.ts";
import { groupsOf, hullOf, type Segment } from "../segments.ts";
import { tokenTextures } from "../token_textures.ts";
import { type FastPlan, groupOf, tokensOfBinding } from "./plan.ts";
import { type FastProblem, type FastTensors, partShape } from "./problem.ts";

/** The buffers of a state, by the names of what kernels bind. */
type StateBuffers = Readonly<Record<string, BufferRange>>;

/** One call on its way to the device. */
export interface FastCall {
  readonly problem: FastProblem;
  readonly plan: FastPlan;
  readonly inputs: FastTensors;
  readonly out: Tensor;
  /** The parts of a state. */
  readonly parts: readonly string[];
  readonly initial: StateBuffers | null;
  readonly final: StateBuffers | null;
  readonly device: Pick<PlanDevice, "adapter" | "limits">;
}

const programs = { walk: once(fastWalk), naive: once(naiveFastWeights) };

/** Records a planned call: each round finds the states that the one before left. */
export function launchFastWeights(operation: Operation, call: FastCall): void {
  const { problem, plan: { schedule, rounds, parted }, parts, initial, final } = call;
  const bytesOf = (part: string): number => 4 * volume(partShape(part, problem));
  const scratch = (bytes: number): BufferRange => operation.scratch(Math.max(16, bytes));
  const carried = final ??
    (rounds.length > 1
      ? Object.fromEntries(parts.map((part) => [part, scratch(bytesOf(part))]))
      : null);
  for (const part of parts) {
    const [from, to] = [initial?.[part].buffer, carried?.[part].buffer];
    if (from && to && from !== to) operation.copy(from, to, bytesOf(part));
  }
  const { bounds, heads, keyDim, valueDim } = problem;
  const rows = (bounds.length - 1) * heads * (keyDim + 1);
  const pending: Record<string, BufferRange> = parted
    ? { pending: scratch(4 * rows * valueDim) }
    : {};
  const textures = schedule.kind === "tiled" ? inputTextures(operation, call) : {};
  rounds.forEach(({ pieces }, i) => {
    launchPieces(operation, call, pieces, {
      textures,
      ends: { initial: i > 0 || problem.initial, final: carried !== null },
      states: { ...(carried ?? initial), ...pending },
    });
  });
}

/** Copies rows into textures, where a driver reads those faster. */
function inputTextures(
  operation: Operation,
  { problem, inputs, device }: FastCall,
): Record<string, GPUTextureView> {
  const rows = FAST_NAMES.flatMap((name) => {
    const tensor = inputs[name];
    if (tensor === undefined || FAST_INPUTS[name].width === "one") return [];
    return [[name, { tensor, width: fastWidth(name, problem) }] as const];
  });
  return tokenTextures(operation, device, Object.fromEntries(rows));
}

/** Where pieces read rows, whether they find and leave states, and where. */
interface PieceStates {
  /** Copies of inputs, where those are read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
  readonly ends: Pick<FastConfig, "initial" | "final">;
  readonly states: StateBuffers;
}

/** Launches a kernel over pieces, as many of them at a time as bindings and grids hold. */
function launchPieces(
  operation: Operation,
  { problem, plan, inputs, out, device: { limits } }: FastCall,
  pieces: readonly Segment[],
  { textures, ends, states }: PieceStates,
): void {
  const { qHeads, kHeads, heads, miniBatch, scale, eps, valueDim } = problem;
  const source = Object.keys(textures).length > 0 ? "texture" : "buffer";
  const { program, columns } = programOf(problem, plan, { ...ends, source });
  const segments = operation.table(pieceTable(pieces, problem));
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const most = {
    tokens: tokensOfBinding(problem, limits),
    segments: limits.maxComputeWorkgroupsPerDimension,
  };
  for (const [first, end] of groupsOf(pieces, most)) {
    const tokens = hullOf(pieces.slice(first, end));
    const outRows = groupOf(problem) * heads;
    const bound = [
      ...FAST_NAMES.flatMap((name) => {
        const tensor = inputs[name];
        const { per, heads } = FAST_INPUTS[name];
        const span = per === "token" ? tokens : [0, 1];
        const rows = [span[0] * problem[heads], span[1] * problem[heads]] as const;
        const width = fastWidth(name, problem);
        return tensor ? [[name, boundRows(tensor, rows, width, alignment)] as const] : [];
      }),
      [
        "out",
        boundRows(out, [tokens[0] * outRows, tokens[1] * outRows], valueDim, alignment),
      ] as const,
    ];
    operation.launch({
      program,
      resources: {
        ...{ segments, ...states },
        ...Object.fromEntries(bound.map(([name, { resource }]) => [name, resource])),
        ...textures,
      },
      params: {
        ...{ segment0: first, qHeads, kHeads, heads, miniBatch, scale, eps },
        ...Object.fromEntries(bound.map(([name, { first }]) => [`${name}First`, first])),
      },
      grid: [Math.ceil(valueDim / columns), heads, end - first],
    });
  }
}

/** Pieces as words: first token, one past the last, state, and how many tokens of its mini-batch went before. */
function pieceTable(
  pieces: readonly Segment[],
  { bounds, miniBatch }: FastProblem,
): Uint32Array<ArrayBuffer> {
  const words = pieces.flatMap(({ first, end, state }) => {
    const met = (first - bounds[state]) % miniBatch;
    const goesOn = end < bounds[state + 1] && (end - bounds[state]) % miniBatch !== 0;
    return [first, end, state, met + (goesOn ? 2 ** 31 : 0)];
  });
  return Uint32Array.from(words);
}

/** A program, and the value channels of its workgroups. */
function programOf(
  problem: FastProblem,
  { schedule, parted }: FastPlan,
  { source, ...ends }: Pick<FastWalkConfig, "initial" | "final" | "source">,
): { program: Program; columns: number } {
  const { rule, inputs, elem, keyDim, valueDim, valueFirst, miniBatch } = problem;
  const config: FastConfig = {
    ...{ rule, inputs, elem, keyDim, valueDim, valueFirst, parted, ...ends },
    group: groupOf(problem),
  };
  if (schedule.kind === "naive") {
    return { program: programs.naive(config), columns: naiveFastThreads(config) };
  }
  const { columns, slices, tokens } = schedule;
  const tile = { columns, slices, tokens, long: miniBatch > tokens, source };
  return { program: programs.walk({ ...config, ...tile }), columns: 4 * columns };
}
