import type { Gpu } from "../../gpu/device.ts";
import { volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { AttentionProblem } from "../attention/problem.ts";
import { areCopyable, checkElem, checkScale, checkSizes } from "../attention/sizes.ts";
import { checkDType, checkShared, checkTensors } from "../tensors.ts";
import { neighborhoodAxes, type NeighborhoodPattern, windowVolume } from "./axes.ts";
import { checkLayout, type NeighborhoodProblem, PLAIN } from "./problem.ts";

/** Options of {@linkcode neighborhoodScores}; each of the pattern one value or one per axis. */
export interface NeighborhoodScoresOptions extends NeighborhoodPattern {
  /**
   * Multiplies q · k.
   *
   * @default {D^-1/2}
   */
  scale?: number;
}

/** One half of unfused neighborhood attention, validated. */
export interface UnfusedProblem extends NeighborhoodProblem {
  /** Storage of scores or weights. */
  readonly weightElem: "f32" | "f16";
  /** Keys of a window. */
  readonly slots: number;
}

const PATTERN: readonly (keyof NeighborhoodPattern)[] = [
  "windowSize",
  "stride",
  "dilation",
  "causal",
];

/** Validates the arguments of neighborhood scores. */
export function scoresProblem(
  q: Tensor,
  k: Tensor,
  options: NeighborhoodScoresOptions,
): { problem: UnfusedProblem; gpu: Gpu } {
  const action = "compute neighborhood scores";
  checkOptionNames(action, options, [...PATTERN, "scale"]);
  const gpu = checkTensors(action, { q, k });
  const { batch, layout } = checkLayout(action, { q, k });
  const [[heads, headDim], [kvHeads, kDim]] = [q, k].map(({ shape }) => shape.slice(-2));
  checkShared(action, "a head dim", { q: headDim, k: kDim });
  const elem = checkElem(action, { q, k });
  const sizes = { batch, layout, heads, kvHeads, dim: headDim };
  const scale = checkScale(action, options.scale, headDim);
  const copyable = areCopyable([q, k]);
  const problem = unfusedProblem(action, sizes, options, {
    elem,
    weightElem: elem,
    scale,
    copyable,
  });
  return { problem, gpu };
}

/** Validates the arguments of neighborhood values. */
export function valuesProblem(
  weights: Tensor,
  v: Tensor,
  pattern: NeighborhoodPattern,
): { problem: UnfusedProblem; gpu: Gpu } {
  const action = "compute neighborhood values";
  checkOptionNames(action, pattern, PATTERN);
  const gpu = checkTensors(action, { weights, v });
  const { batch, layout } = checkLayout(action, { weights, v });
  const [[heads, slots], [kvHeads, dim]] = [weights, v].map(({ shape }) => shape.slice(-2));
  const elem = checkDType(action, "v", v, ["f32", "f16"]);
  const weightElem = checkDType(action, "weights", weights, ["f32", "f16"]);
  const sizes = { batch, layout, heads, kvHeads, dim };
  const copyable = areCopyable([v]);
  const problem = unfusedProblem(action, sizes, pattern, { elem, weightElem, scale: 1, copyable });
  if (slots !== problem.slots) {
    throw new TypeError(
      `Cannot ${action} as weights must have one for each key of a window, ${problem.slots}: weights is [${weights.shape}]`,
    );
  }
  return { problem, gpu };
}

function unfusedProblem(
  action: string,
  { batch, layout, heads, kvHeads, dim }: {
    batch: number;
    layout: readonly number[];
    heads: number;
    kvHeads: number;
    dim: number;
  },
  pattern: NeighborhoodPattern,
  stored:
    & Pick<UnfusedProblem, "weightElem">
    & Pick<AttentionProblem, "elem" | "scale" | "copyable">,
): UnfusedProblem {
  const { weightElem, ...given } = stored;
  const axes = neighborhoodAxes(action, layout, pattern);
  const tokens = volume(layout);
  const attention: AttentionProblem = {
    ...checkSizes(action, {
      ...{ batch, heads, kvHeads },
      ...{ qLen: tokens, kvLen: tokens },
      ...{ headDim: dim, valueDim: dim },
    }),
    ...PLAIN,
    ...given,
    additional: null,
    lse: false,
  };
  return { axes, attention, schedule: null, weightElem, slots: windowVolume(axes) };
}
