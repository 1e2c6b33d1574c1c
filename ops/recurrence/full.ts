import type { Gpu } from "../../gpu/device.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { channelsOfWorkgroup } from "../../kernels/recurrence/loop.ts";
import type { LoopPass } from "../../kernels/recurrence/pass.ts";
import { defaultsOf } from "../defaults.ts";
import { chunksOf, type Round, sequencesOf } from "../segments.ts";
import { launchCarry, launchChunkStates } from "./carry.ts";
import { FULL } from "./class.ts";
import { withFeatures } from "./feature_map.ts";
import {
  ACTION,
  type FullProblem,
  fullProblem,
  type FullSettings,
  type LinearAttentionFullOptions,
} from "./full_problem.ts";
import { launchPass, type RecurrenceCall, type RecurrenceTensors, textureInputs } from "./pass.ts";
import { tokensOfWalk } from "./plan.ts";
import type { RecurrenceProblem } from "./problem.ts";
import { tiledSchedule } from "./schedule.ts";
import { scratchState, type StateBuffers } from "./states.ts";

const OPTIONS: readonly (keyof LinearAttentionFullOptions)[] = [
  ...["featureMap", "hedgehogWeights", "normalize", "eps"] as const,
  ...["scale", "tokenWeights", "subtractMean"] as const,
];

/**
 * Linear attention of all queries over all keys, not causal: out_i = Σ_j w_ij v_j with
 * w_ij = scale · α_j · φ(q_i)·φ(k_j), α the token weights. One pass sums α_j φ(k_j)ᵀ v_j over the keys,
 * another multiplies each query with the sum.
 *
 * `normalize` makes it Σ_j w_ij v_j / (Σ_j w_ij + eps). `subtractMean` makes it
 * Σ_j (w_ij − mean_s w_is + 1) v_j / S, whose weights add up to 1. Heads are grouped as in `recurrence`.
 *
 * Its settings are LinFusion (Liu et al., 2024): `elu1`, eps 1e-4·S, scale 1; RALA (Fan et al., 2024):
 * `elu1`, its α as tokenWeights, eps 1e-6·S, scale 1; SLAB (Guo et al., 2024): `relu`, scale 1; InLine
 * (Han et al., "Bridging the Divide", 2024): subtractMean. What they add outside the sums, positions and
 * convolutions, is the caller's.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, S, HK, K]`
 * @param v `[B, S, HV, V]`
 * @param options feature map, normalisation, token weights, scale (default K'^-1/2 of K' features)
 * @returns out `[B, T, HO, V]`, HO = max(HQ, HV); 0 where there is no key
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { linearAttentionFull, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, data.length, 1, 1]);
 * const { out } = linearAttentionFull(x(1), x(1, 3), x(4, 8), { featureMap: "relu", eps: 0 });
 * assertAlmostEquals((await out.read())[0], 7, 1e-5);
 * ```
 */
export function linearAttentionFull<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LinearAttentionFullOptions = {},
): { out: Tensor<T> } {
  return recall(attend<T>, q, k, v, options);
}

function attend<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LinearAttentionFullOptions,
): { out: Tensor<T> } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { featureMap = "identity", hedgehogWeights: weights, ...others } = options;
  const { normalize = featureMap !== "identity" && !others.subtractMean } = options;
  const operator = { name: "linearAttentionFull", action: ACTION };
  return withFeatures(
    operator,
    { featureMap, weights },
    { q, k, v },
    {
      check: (featureMap, features) =>
        void fullProblem(q, k, v, { ...others, normalize, featureMap, features }),
      run: (q, k, featureMap) => run(q, k, v, { ...others, normalize, featureMap }),
    },
  );
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  settings: FullSettings,
): { out: Tensor<T> } {
  const { problem, gpu } = fullProblem(q, k, v, settings);
  const { tokenWeights } = settings;
  const { batch, length, qHeads, heads, valueDim } = problem.queries;
  return record(gpu, "linearAttentionFull", (operation) => {
    const out = gpu.empty([batch, length, Math.max(qHeads, heads), valueDim], q.dtype);
    const tensors: RecurrenceTensors = {
      inputs: { q, k, v, ...(tokenWeights && { keyWeights: tokenWeights }) },
      ...{ out, initial: null, final: null },
    };
    const sums = launchSums(operation, gpu, problem.keys, tensors);
    const totals = problem.totals && launchSums(operation, gpu, problem.totals, tensors).s;
    launchQueries(operation, gpu, problem, {
      ...{ ...tensors, initial: sums },
      inputs: { ...tensors.inputs, ...(totals && { totals: { buffer: totals, dtype: "f32" } }) },
    });
    return { out };
  });
}

/** A call, and its tokens cut into as many chunks as fill the device. */
function planned(
  gpu: Gpu,
  problem: RecurrenceProblem,
  tensors: RecurrenceTensors,
): { call: RecurrenceCall; round: Round } {
  const { adapter, limits } = gpu;
  const { parallel } = defaultsOf(adapter);
  const schedule = tiledSchedule(problem, gpu);
  const { bounds, heads, length, valueDim } = problem;
  const blocks = Math.ceil(valueDim / channelsOfWorkgroup(schedule));
  const workgroups = Math.max(1, (bounds.length - 1) * heads * blocks);
  const wanted = parallel ? Math.ceil(FULL / workgroups) : 1;
  const even = Math.max(MIN_CHUNK, Math.ceil(length / wanted));
  const chunkSize = Math.min(even, tokensOfWalk(problem, schedule, gpu));
  const sequences = sequencesOf(bounds);
  const call = { problem, plan: { schedule, rounds: [] }, tensors, limits };
  return { call, round: chunksOf(sequences, { chunkSize, reverse: false }) };
}

/** Tokens of a chunk, at least: a state is loaded or stored for each. */
const MIN_CHUNK = 256;

/** Sums over the keys of each batch: chunks in parallel, then the sums of chunks. */
function launchSums(
  operation: Operation,
  gpu: Gpu,
  problem: RecurrenceProblem,
  tensors: RecurrenceTensors,
): StateBuffers {
  const { call, round } = planned(gpu, problem, tensors);
  const inputs = textureInputs(operation, call, ["k", "v"]);
  const local = launchChunkStates(operation, call, inputs, round.chunks ?? []);
  const buffers = scratchState(operation, problem);
  const states = { buffers, initial: false, final: true };
  launchCarry(operation, call, { local, chunkRanges: round.chunkRanges, states });
  return buffers;
}

/** Reads the sums with every query. */
function launchQueries(
  operation: Operation,
  gpu: Gpu,
  { queries }: FullProblem,
  tensors: RecurrenceTensors,
): void {
  const { call, round } = planned(gpu, queries, tensors);
  const inputs = textureInputs(operation, call, ["q"]);
  const center = tensors.inputs.totals !== undefined;
  const pass: LoopPass = {
    ...{
      initial: true,
      final: false,
      outputs: true,
      decays: false,
      writes: false,
      center,
      identity: false,
      series: false,
    },
  };
  // chunks of a batch read its one state
  const chunks = round.chunkRanges.flatMap(({ first, end, state }) =>
    (round.chunks ?? []).slice(first, end).map((chunk) => ({ ...chunk, state }))
  );
  const { s, z } = tensors.initial ?? { s: null, z: null };
  launchPass(operation, call, inputs, chunks, pass, {
    ...(s && { state: { buffer: s } }),
    ...(z && queries.normalize && { sums: { buffer: z } }),
  });
}
