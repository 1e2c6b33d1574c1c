import type { AttentionOptions } from "../ops/attention/problem.ts";
import type { AttentionWeight, MaskHook, ScoreHook } from "../reference/mod.ts";
import { elementAt as read, type HookTable } from "./hook_table.ts";
import { Random } from "./random.ts";

/** A hook as the operator takes it, and the same for the oracle. */
export interface HookPair<F> {
  readonly name: string;
  readonly code: string;
  readonly inputs: Readonly<Record<string, HookTable | number>>;
  readonly js: F;
}

/** A weight as the operator takes it, and the same for the oracle. */
export interface WeightPair {
  readonly name: string;
  readonly wgsl: NonNullable<AttentionOptions["weight"]>;
  readonly js: AttentionWeight;
}

/** Names of {@linkcode SCORES}. */
export type ScoreName = "alibi" | "tables" | "holes" | "heat" | "cap";

/** Names of {@linkcode MASKS}. */
export type MaskName = "checks" | "documents" | "far" | "reach" | "causal";

const random = new Random(6);

/** Fills a table of a shape. */
function table<D extends HookTable["data"]>(
  make: new (length: number) => D,
  shape: readonly number[],
  next: (at: number) => number,
): HookTable {
  const data = new make(shape.reduce((product, size) => product * size, 1));
  data.forEach((_, at) => data[at] = next(at));
  return { data, shape };
}

const normal = (): number => random.normal();
const SLOPE = table(Float32Array, [4], normal);
const GAIN = table(Float16Array, [3], normal);
const OFFSET = table(Int32Array, [2, 50], () => random.integer(-3, 3));
const HOP = table(Uint32Array, [2, 3, 5], () => random.integer(0, 3));
const NEAR = table(Float32Array, [2, 2, 9, 7], normal);
/** A third of all keys, and in the last head every key, has a logit of -Infinity. */
const HOLE = table(
  Float32Array,
  [4, 37],
  (at) => at >= 3 * 37 || random.next() < 1 / 3 ? -Infinity : random.normal(),
);
const HEAT = table(Float16Array, [2, 90], () => 0.5 + random.next());
const DOCUMENT = table(Int32Array, [200], (at) => Math.floor(at / 31));
const REACH = table(Uint32Array, [4], (at) => 3 + 20 * at);

/** Scores: tables of every type and of 1 to 4 axes, a number, several hooks, infinities. */
export const SCORES: Readonly<Record<ScoreName, HookPair<ScoreHook>>> = {
  alibi: {
    name: "alibi",
    code: "s - 0.1 * slope(h) * f32(abs(i - j))",
    inputs: { slope: SLOPE },
    js: (s, { h, i, j }) => s - 0.1 * read(SLOPE, h) * Math.abs(i - j),
  },
  tables: {
    name: "tables",
    code: `let d = i - j; // clamped to the table
let shift = f32(offset(b, i)) * gain(h) + f32(hop(b, h, j));
(s + shift) / tau + near(b, h - 1, d + 4, j)`,
    inputs: { gain: GAIN, offset: OFFSET, hop: HOP, near: NEAR, tau: 1.5 },
    js: (s, { b, h, i, j }) =>
      (s + read(OFFSET, b, i) * read(GAIN, h) + read(HOP, b, h, j)) / 1.5 +
      read(NEAR, b, h - 1, i - j + 4, j),
  },
  holes: {
    name: "holes",
    code: "s + hole(h, j)",
    inputs: { hole: HOLE },
    js: (s, { h, j }) => s + read(HOLE, h, j),
  },
  heat: {
    name: "heat",
    code: "s / heat(b, i)",
    inputs: { heat: HEAT },
    js: (s, { b, i }) => s / read(HEAT, b, i),
  },
  cap: {
    name: "cap",
    code: "cap * tanh(s / cap)",
    inputs: { cap: 2.5 },
    js: (s) => 2.5 * Math.tanh(s / 2.5),
  },
};

/** Masks, some of which leave rows without a key. */
export const MASKS: Readonly<Record<MaskName, HookPair<MaskHook>>> = {
  checks: {
    name: "checks",
    code: "j <= i + 20 && (i / 16 + j / 8 + h) % 3 != 0",
    inputs: {},
    js: ({ i, j, h }) => j <= i + 20 && (Math.floor(i / 16) + Math.floor(j / 8) + h) % 3 !== 0,
  },
  documents: {
    name: "documents",
    code: "document(i) == document(j) && (b == 0 || j > 40)",
    inputs: { document: DOCUMENT },
    js: ({ b, i, j }) => read(DOCUMENT, i) === read(DOCUMENT, j) && (b === 0 || j > 40),
  },
  far: {
    name: "far",
    code: "j < i - 40",
    inputs: {},
    js: ({ i, j }) => j < i - 40,
  },
  reach: {
    name: "reach",
    code: "abs(i - j) <= i32(reach(h))",
    inputs: { reach: REACH },
    js: ({ h, i, j }) => Math.abs(i - j) <= read(REACH, h),
  },
  causal: {
    name: "causal",
    code: "j <= i",
    inputs: {},
    js: ({ i, j }) => j <= i,
  },
};

/** Weights by name, and two of one's own. */
export const WEIGHTS: readonly WeightPair[] = [
  ...["softmax", "sigmoid", "softplus", "relu", "elu1", "none", "stickBreaking"] as const,
].map((name): WeightPair => ({ name, wgsl: name, js: name })).concat([
  { name: "square", wgsl: "s * s", js: { weight: (s) => s * s, normalize: true } },
  {
    name: "tanh",
    wgsl: { code: "tanh(s)", normalize: false },
    js: { weight: Math.tanh, normalize: false },
  },
]);
