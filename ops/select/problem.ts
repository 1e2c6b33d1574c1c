import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkTensors } from "../tensors.ts";

/** Options of {@linkcode selectTopP} and {@linkcode selectThreshold}. */
export interface SelectOptions {
  /**
   * How many at most are selected: m. The smaller ones are left out.
   *
   * @default {n}
   */
  max?: number;
}

/** What of each row is selected, validated; no tensors and no GPU. */
export interface SelectProblem {
  readonly elem: "f32" | "f16";
  /** All axes but the last. */
  readonly axes: readonly number[];
  readonly rows: number;
  /** n. */
  readonly width: number;
  /** m, places of a row of indices. */
  readonly places: number;
  /** Key that selected elements reach. */
  readonly least: number;
  /** The share of a row's sum that is selected, or null where keys alone decide. */
  readonly share: number | null;
}

/** The key of the smallest score that may be selected. */
const ANY = 1;

/** The key of the smallest score that is more than 0. */
const POSITIVE = 0x80000001;

/** Validates the arguments of selecting the k largest. */
export function topKProblem(scores: Tensor, k: number): { problem: SelectProblem; gpu: Gpu } {
  const action = "select the top k";
  const { sizes, gpu } = checkScores(action, scores);
  checkPlaces(action, "k", k);
  return { problem: largestOf(sizes, k), gpu };
}

/** What selects the largest of rows. */
export function largestOf(
  sizes: Pick<SelectProblem, "elem" | "axes" | "rows" | "width">,
  places: number,
): SelectProblem {
  return { ...sizes, places, least: ANY, share: null };
}

/** Validates the arguments of selecting a share. */
export function topPProblem(
  scores: Tensor,
  p: number,
  options: SelectOptions,
): { problem: SelectProblem; gpu: Gpu } {
  const action = "select the top p";
  const { sizes, gpu } = checkScores(action, scores);
  if (!(typeof p === "number" && p >= 0 && p <= 1)) {
    throw new RangeError(
      `Cannot ${action} as p must be a number from 0 to 1: p is ${kindOf(p)}`,
    );
  }
  const places = checkMax(action, options, sizes.width);
  // a share of 1 is all that adds something, whatever sums are rounded to
  const share = p === 1 ? null : p;
  return { problem: { ...sizes, places, least: POSITIVE, share }, gpu };
}

/** Validates the arguments of selecting what reaches a threshold. */
export function thresholdProblem(
  scores: Tensor,
  t: number,
  options: SelectOptions,
): { problem: SelectProblem; gpu: Gpu } {
  const action = "select by a threshold";
  const { sizes, gpu } = checkScores(action, scores);
  if (!(typeof t === "number" && !Number.isNaN(t))) {
    throw new RangeError(`Cannot ${action} as t must be a number: t is ${kindOf(t)}`);
  }
  const places = checkMax(action, options, sizes.width);
  return { problem: { ...sizes, places, least: keyOf(t), share: null }, gpu };
}

/** The key of a threshold, as kernels make it of scores. */
function keyOf(t: number): number {
  if (t === -Infinity) return ANY;
  const [bits] = new Uint32Array(Float32Array.of(t + 0).buffer);
  return t === 0 ? 0x80000000 : (bits >>> 31 === 1 ? ~bits : bits | 0x80000000) >>> 0;
}

function checkScores(action: string, scores: Tensor) {
  const gpu = checkTensors(action, { scores });
  const elem = checkDType(action, "scores", scores, ["f32", "f16"]);
  if (scores.shape.length === 0) {
    throw new TypeError(`Cannot ${action} as scores must have an axis: scores is []`);
  }
  const axes = scores.shape.slice(0, -1);
  const width = scores.shape[axes.length];
  return { sizes: { elem, axes, rows: volume(axes), width }, gpu };
}

function checkMax(action: string, options: SelectOptions, width: number): number {
  checkOptionNames(action, options, ["max"]);
  const { max = width } = options;
  checkPlaces(action, "max", max);
  return max;
}

function checkPlaces(action: string, name: string, places: unknown): void {
  if (Number.isSafeInteger(places) && Number(places) >= 0 && Number(places) < 2 ** 31) return;
  throw new RangeError(
    `Cannot ${action} as ${name} must be an integer >= 0: ${name} is ${kindOf(places)}`,
  );
}
