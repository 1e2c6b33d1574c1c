import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { AttentionProblem } from "../attention/problem.ts";
import { areCopyable, checkElem, checkLse, checkScale, checkSizes } from "../attention/sizes.ts";
import { checkShared, checkTensors } from "../tensors.ts";
import { neighborhoodAxes, type NeighborhoodAxis, type NeighborhoodPattern } from "./axes.ts";
import type { NeighborhoodSchedule } from "./schedule.ts";

/** Options of {@linkcode neighborhoodAttention}; each of the pattern one value or one per axis. */
export interface NeighborhoodAttentionOptions extends NeighborhoodPattern {
  /** `[B, E, Hkv, D]`: keys that every query sees beside its neighborhood, causal or not. */
  additionalKeys?: Tensor;
  /** `[B, E, Hkv, Dv]`: their values. */
  additionalValues?: Tensor;
  /**
   * Multiplies q · k.
   *
   * @default {D^-1/2}
   */
  scale?: number;
  /**
   * Whether `lse` is returned.
   *
   * @default {false}
   */
  lse?: boolean;
  /** Overrides the kernel: a kind, the name of a valid schedule, or a schedule. */
  schedule?: string | NeighborhoodSchedule;
}

/** What neighborhood attention is to compute, validated; no tensors and no GPU. */
export interface NeighborhoodProblem {
  readonly axes: readonly NeighborhoodAxis[];
  /** The same without the pattern, all token axes as one. */
  readonly attention: AttentionProblem;
  readonly schedule: string | NeighborhoodSchedule | null;
}

const ACTION = "compute neighborhood attention";
const OPTIONS: readonly (keyof NeighborhoodAttentionOptions)[] = [
  "windowSize",
  "stride",
  "dilation",
  "causal",
  "additionalKeys",
  "additionalValues",
  "scale",
  "lse",
  "schedule",
];

/** Validates the arguments of neighborhood attention: the one place that throws for them. */
export function neighborhoodProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: NeighborhoodAttentionOptions,
): { problem: NeighborhoodProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { additionalKeys, additionalValues, lse = false, schedule = null } = options;
  const tensors = {
    ...{ q, k, v },
    ...(additionalKeys !== undefined && { additionalKeys }),
    ...(additionalValues !== undefined && { additionalValues }),
  };
  const gpu = checkTensors(ACTION, tensors);
  const { batch, layout, heads, headDim, kvHeads, valueDim } = checkLayouts(ACTION, { q, k, v });
  const tokens = volume(layout);
  const sizes = checkSizes(ACTION, {
    ...{ batch, heads, kvHeads, headDim, valueDim },
    qLen: tokens,
    kvLen: tokens,
  });
  const axes = neighborhoodAxes(ACTION, layout, options);
  const count = checkAdditional(k, v, additionalKeys, additionalValues);
  const attention: AttentionProblem = {
    ...sizes,
    elem: checkElem(ACTION, tensors),
    scale: checkScale(ACTION, options.scale, headDim),
    band: null,
    additional: count === 0 ? null : { count },
    softcap: null,
    bias: null,
    sinks: null,
    lse: checkLse(ACTION, lse),
    copyable: areCopyable(Object.values(tensors)),
    schedule: null,
  };
  return { problem: { axes, attention, schedule }, gpu };
}

/** What shapes of q, k and v say. */
export interface LayoutSizes {
  readonly batch: number;
  /** Tokens along each axis. */
  readonly layout: readonly number[];
  readonly heads: number;
  readonly headDim: number;
  readonly kvHeads: number;
  readonly valueDim: number;
}

/** Sizes of q `[B, X(, Y(, Z)), Hq, D]`, k `[…, Hkv, D]` and v `[…, Hkv, Dv]` on one layout. */
export function checkLayouts(
  action: string,
  { q, k, v }: Readonly<Record<"q" | "k" | "v", Tensor>>,
): LayoutSizes {
  for (const [name, { shape }] of Object.entries({ q, k, v })) {
    if (shape.length >= 4 && shape.length <= 6 && shape.length === q.shape.length) continue;
    throw new TypeError(
      `Cannot ${action} as q, k and v must have the axes [B, X(, Y(, Z)), heads, dim]: ${name} is [${shape}], q is [${q.shape}]`,
    );
  }
  const [batch, ...layout] = q.shape.slice(0, -2);
  const sizes = [q, k, v].map(({ shape }) => shape.slice(-2));
  const [[heads, headDim], [kvHeads], [, valueDim]] = sizes;
  checkShared(action, "a batch", { q: batch, k: k.shape[0], v: v.shape[0] });
  layout.forEach((length, axis) =>
    checkShared(action, `the length of axis ${axis}`, {
      q: length,
      k: k.shape[axis + 1],
      v: v.shape[axis + 1],
    })
  );
  checkShared(action, "heads", { k: kvHeads, v: sizes[2][0] });
  checkShared(action, "a head dim", { q: headDim, k: sizes[1][1] });
  return { batch, layout, heads, headDim, kvHeads, valueDim };
}

/** How many additional keys there are, E. */
function checkAdditional(k: Tensor, v: Tensor, keys?: Tensor, values?: Tensor): number {
  if (keys === undefined && values === undefined) return 0;
  if (keys === undefined || values === undefined) {
    throw new TypeError(
      `Cannot ${ACTION} as additionalKeys and additionalValues must be given together: additionalKeys is ${
        kindOf(keys)
      }, additionalValues is ${kindOf(values)}`,
    );
  }
  const count = keys.shape[1];
  const expected = [[k, keys], [v, values]].map(([{ shape }]) => [
    shape[0],
    count,
    ...shape.slice(-2),
  ]);
  for (const [i, [name, { shape }]] of Object.entries({ keys, values }).entries()) {
    if (String(shape) === String(expected[i])) continue;
    const letter = name === "keys" ? "D" : "Dv";
    const full = name === "keys" ? "additionalKeys" : "additionalValues";
    throw new TypeError(
      `Cannot ${ACTION} as ${full} must be [B, E, Hkv, ${letter}] = [${
        expected[i]
      }]: ${full} is [${shape}]`,
    );
  }
  return count;
}
