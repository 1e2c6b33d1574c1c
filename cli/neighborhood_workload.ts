import type { Gpu } from "../gpu/device.ts";
import { elementBytes, volume } from "../gpu/dtype.ts";
import { neighborhoodAxes } from "../ops/neighborhood/axes.ts";
import { type NeighborhoodPlan, planNeighborhood } from "../ops/neighborhood/plan.ts";
import { neighborhoodProblemOf } from "../ops/neighborhood/problem.ts";
import { neighborhoodScheduleName, neighborhoodSchedules } from "../ops/neighborhood/schedule.ts";
import { tileModel, type TilePair, visiblePairs } from "../ops/neighborhood/tile_model.ts";
import { visibleKeys } from "../reference/mod.ts";
import { attentionWorkload } from "./attention_workload.ts";
import { type HostTensor, TOLERANCE } from "./host_tensor.ts";
import {
  loadNeighborhood,
  type NeighborhoodCase,
  neighborhoodCaseName,
  type NeighborhoodInputs,
} from "./neighborhood_case.ts";
import { unfusedNeighborhood } from "./neighborhood_unfused.ts";
import {
  neighborhoodMap,
  neighborhoodMatrix,
  tellingQueries,
} from "./pattern/neighborhood_pattern.ts";
import { spotCheckRows } from "./spot_check.ts";
import type { Choices } from "./tune/choices.ts";
import { neighborhoodChoices } from "./tune/neighborhood_choices.ts";
import type { SweepKeys } from "./sweep.ts";
import { type LoadedWorkload, pictureStep, type Workload } from "./workload.ts";

/** Sizes that a sweep of neighborhood attention may change. */
export const NEIGHBORHOOD_SWEEPS: SweepKeys<NeighborhoodCase> = {
  side: (size) => ({ layout: [size, size] }),
  length: (size) => ({ layout: [size] }),
  batch: (size) => ({ batch: size }),
  heads: (size) => ({ heads: size, kvHeads: size }),
  "head-dim": (size) => ({ headDim: size, valueDim: size }),
};

/** A case of neighborhood attention as a workload. */
export function neighborhoodWorkload(c: NeighborhoodCase): Workload {
  const { batch, heads, kvHeads, headDim, valueDim, layout, additional = 0 } = c;
  const tokens = volume(layout);
  const axes = axesOf(c);
  const rows = tokens * heads + (tokens + additional) * kvHeads;
  const bytes = elementBytes(c.dtype) * batch * rows * (headDim + valueDim);
  return {
    operator: "neighborhoodAttention",
    problem: c,
    name: neighborhoodCaseName(c),
    tolerance: TOLERANCE[c.dtype],
    flops: 2 * batch * heads * (visiblePairs(axes) + tokens * additional) * (headDim + valueDim),
    bytes,
    rivals: {
      naive: () => neighborhoodWorkload({ ...c, schedule: "naive" }),
      // the softmax between the halves is the baseline's, which reads f32
      ...(c.dtype === "f32" && additional === 0 && {
        unfused: () => ({
          ...neighborhoodWorkload(c),
          load: (gpu) => loadWorkload(gpu, c, unfusedNeighborhood),
        }),
      }),
      dense: () => attentionWorkload(denseCase(c)),
    },
    always: ["dense"],
    scheduleOn: (gpu) => planOf(gpu, c).name,
    schedulesOn: (gpu) =>
      neighborhoodSchedules(neighborhoodProblemOf(c), gpu).map(neighborhoodScheduleName),
    choices: (gpu) => choicesOf(gpu, c, bytes),
    load: (gpu) => loadWorkload(gpu, c),
    picture: () =>
      axes.length === 1
        ? neighborhoodMatrix(axes[0], pictureStep(tokens))
        : neighborhoodMap(axes, tellingQueries(c.layout)),
    model: (gpu, medianMs, { dense }) => boundsOf(planOf(gpu, c), c, dense / medianMs),
  };
}

/** What a tuner chooses between, where not every key is seen. */
function choicesOf(gpu: Gpu, c: NeighborhoodCase, bytes: number): Choices {
  if (planOf(gpu, c).kind === "dense") {
    throw new RangeError(
      `Cannot tune neighborhood attention as its windows must leave out a key, else it is attention: current problem is ${
        neighborhoodCaseName(c)
      }`,
    );
  }
  const workloadOf = (schedule: string): Workload => neighborhoodWorkload({ ...c, schedule });
  return neighborhoodChoices(neighborhoodProblemOf(c), bytes, gpu, workloadOf);
}

/** The bounds of the tiles that a plan uses, and how near to them the speed-up over dense comes. */
function boundsOf(plan: NeighborhoodPlan, c: NeighborhoodCase, speedupOverDense: number): object {
  if (plan.kind !== "tiled") return { speedupOverDense };
  const tiles = plan.attention.schedule as TilePair & typeof plan.attention.schedule;
  const { workBound, busiestBound, flopBound, density, blockSparse } = tileModel(
    axesOf(c),
    tiles,
    "window",
  );
  return {
    speedupOverDense,
    workBound,
    ratioToBound: speedupOverDense / workBound,
    ...{ busiestBound, flopBound, density, blockSparse },
  };
}

function planOf(gpu: Gpu, c: NeighborhoodCase): NeighborhoodPlan {
  return planNeighborhood(neighborhoodProblemOf(c), gpu);
}

function axesOf({ layout, pattern }: NeighborhoodCase): ReturnType<typeof neighborhoodAxes> {
  return neighborhoodAxes("profile neighborhood attention", layout, pattern);
}

/** All tokens see each other. */
function denseCase(c: NeighborhoodCase): Parameters<typeof attentionWorkload>[0] {
  const { batch, heads, kvHeads, headDim, valueDim, dtype, inputs, seed, layout } = c;
  const tokens = volume(layout);
  const sizes = { batch, qLen: tokens, kvLen: tokens, heads, kvHeads, headDim, valueDim };
  return { ...sizes, dtype, inputs, seed, lse: false };
}

function loadWorkload(
  gpu: Gpu,
  c: NeighborhoodCase,
  compute?: typeof unfusedNeighborhood,
): LoadedWorkload {
  const loaded = loadNeighborhood(gpu, c);
  return {
    compute: () => {
      if (compute !== undefined) return compute(gpu, c, loaded.tensors);
      const { out, lse } = loaded.compute();
      return lse ? [out, lse] : [out];
    },
    errorOf: (out) => spotCheckNeighborhood(c, loaded.inputs, out),
    [Symbol.dispose]: () => loaded[Symbol.dispose](),
  };
}

/** Compares an output with float64, all token axes as one and additional keys behind the others. */
export function spotCheckNeighborhood(
  c: NeighborhoodCase,
  inputs: NeighborhoodInputs,
  out: ArrayLike<number>,
): number {
  const axes = axesOf(c);
  const tokens = volume(c.layout);
  const { q, k, v, additionalKeys, additionalValues } = inputs;
  const mask = (query: number, keys: Float32Array): void => {
    keys.fill(-Infinity, 0, tokens);
    let seen = [0];
    let inner = tokens;
    for (const axis of axes) {
      inner /= axis.length;
      const places = visibleKeys(axis, Math.floor(query / inner) % axis.length);
      seen = seen.flatMap((token) => places.map((place) => token + place * inner));
    }
    for (const token of seen) keys[token] = 0;
  };
  const flat = {
    q: { data: q.data, shape: [c.batch, tokens, c.heads, c.headDim] },
    k: joined(c.batch, k, additionalKeys),
    v: joined(c.batch, v, additionalValues),
  };
  return spotCheckRows({ inputs: flat, scale: c.scale ?? c.headDim ** -0.5, mask }, out);
}

/** `[B, T + E, Hkv, D]` from `[B, X(, Y(, Z)), Hkv, D]` and `[B, E, Hkv, D]`. */
function joined(batch: number, own: HostTensor, additional?: HostTensor): HostTensor {
  const [heads, dim] = own.shape.slice(-2);
  const [size, extra] = [own.data.length / batch, (additional?.data.length ?? 0) / batch];
  const data = new Float32Array(batch * (size + extra));
  for (let b = 0; b < batch; b++) {
    data.set(own.data.subarray(b * size, (b + 1) * size), b * (size + extra));
    if (additional === undefined) continue;
    data.set(additional.data.subarray(b * extra, (b + 1) * extra), b * (size + extra) + size);
  }
  return { data, shape: [batch, (size + extra) / (heads * dim), heads, dim] };
}
