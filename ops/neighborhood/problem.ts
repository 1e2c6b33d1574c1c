import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { IN_A_ROW } from "../attention/key_layout.ts";
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

/** What attention can do beside, and neighborhoods do not. */
export const PLAIN: Pick<
  AttentionProblem,
  "band" | "keys" | "softcap" | "bias" | "sinks" | "gates" | "weight" | "hooks" | "schedule"
> = {
  band: null,
  keys: IN_A_ROW,
  softcap: null,
  bias: null,
  sinks: null,
  gates: null,
  weight: WEIGHTS.softmax,
  hooks: NO_HOOKS,
  schedule: null,
};

/** Validates the arguments of neighborhood attention: the one place that throws for them. */
export function neighborhoodProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: NeighborhoodAttentionOptions,
): { problem: NeighborhoodProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { additionalKeys, additionalValues, lse = false } = options;
  const tensors = {
    ...{ q, k, v },
    ...(additionalKeys !== undefined && { additionalKeys }),
    ...(additionalValues !== undefined && { additionalValues }),
  };
  const gpu = checkTensors(ACTION, tensors);
  const { batch, layout } = checkLayout(ACTION, { q, k, v });
  const [[heads, headDim], [kvHeads, kDim], [vHeads, valueDim]] = [q, k, v].map(({ shape }) =>
    shape.slice(-2)
  );
  checkShared(ACTION, "heads", { k: kvHeads, v: vHeads });
  checkShared(ACTION, "a head dim", { q: headDim, k: kDim });
  const tokens = volume(layout);
  const sizes = checkSizes(ACTION, {
    ...{ batch, heads, kvHeads, headDim, valueDim },
    qLen: tokens,
    kvLen: tokens,
  });
  const axes = neighborhoodAxes(ACTION, layout, options);
  const count = checkAdditional(k, v, additionalKeys, additionalValues);
  const attention: AttentionProblem = {
    ...PLAIN,
    ...sizes,
    elem: checkElem(ACTION, tensors),
    scale: checkScale(ACTION, options.scale, headDim),
    additional: count === 0 ? null : { count },
    lse: checkLse(ACTION, lse),
    copyable: areCopyable(Object.values(tensors)),
  };
  return { problem: { axes, attention, schedule: checkSchedule(options.schedule) }, gpu };
}

/** A problem from plain values, for planning without tensors. */
export function neighborhoodProblemOf(
  plain: {
    batch: number;
    layout: readonly number[];
    heads: number;
    kvHeads: number;
    headDim: number;
    valueDim: number;
    dtype: "f32" | "f16";
    pattern: NeighborhoodPattern;
    additional?: number;
    scale?: number;
    schedule?: string | NeighborhoodSchedule;
  },
): NeighborhoodProblem {
  const { batch, layout, heads, kvHeads, headDim, valueDim, additional = 0 } = plain;
  const tokens = volume(layout);
  const sizes = { batch, qLen: tokens, kvLen: tokens, heads, kvHeads, headDim, valueDim };
  return {
    axes: neighborhoodAxes(ACTION, layout, plain.pattern),
    attention: {
      ...PLAIN,
      ...checkSizes(ACTION, sizes),
      elem: plain.dtype,
      scale: checkScale(ACTION, plain.scale, headDim),
      additional: additional === 0 ? null : { count: additional },
      lse: false,
      copyable: true,
    },
    schedule: plain.schedule ?? null,
  };
}

/** The batch and the token axes `[B, X(, Y(, Z)), heads, dim]` that tensors share. */
export function checkLayout(
  action: string,
  tensors: Readonly<Record<string, Tensor>>,
): { batch: number; layout: readonly number[] } {
  const names = Object.keys(tensors);
  const [{ shape: first }] = Object.values(tensors);
  const ranks = new Set(Object.values(tensors).map(({ shape }) => shape.length));
  if (ranks.size > 1 || first.length < 4 || first.length > 6) {
    const shapes = Object.entries(tensors).map(([name, { shape }]) => `${name} is [${shape}]`);
    throw new TypeError(
      `Cannot ${action} as ${names.slice(0, -1).join(", ")} and ${
        names[names.length - 1]
      } must have the axes [B, X(, Y(, Z)), heads, dim]: ${shapes.join(", ")}`,
    );
  }
  const sizes = (axis: number): Record<string, number> =>
    Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape[axis]]));
  const [batch, ...layout] = first.slice(0, -2);
  checkShared(action, "a batch", sizes(0));
  layout.forEach((_, axis) => checkShared(action, `the length of axis ${axis}`, sizes(axis + 1)));
  return { batch, layout };
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
    count ?? "E",
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

/** Checks the form of a schedule; planning tells whether it fits. */
function checkSchedule(schedule: unknown): string | NeighborhoodSchedule | null {
  if (schedule === undefined || schedule === null) return null;
  if (typeof schedule === "string" || isSchedule(schedule)) return schedule;
  throw new TypeError(
    `Cannot ${ACTION} as schedule must be a name, or a schedule with queryTile and keyTile: schedule is ${
      kindOf(schedule)
    }`,
  );
}

function isSchedule(value: unknown): value is NeighborhoodSchedule {
  const { kind, queryTile, keyTile } = Object(value);
  return kind === "naive" || (Array.isArray(queryTile) && Array.isArray(keyTile));
}
