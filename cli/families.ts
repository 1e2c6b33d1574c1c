import type { Tensor } from "../gpu/tensor.ts";
import {
  titansMemory,
  titansMemoryStep,
  tttLinear,
  tttLinearStep,
} from "../ops/fast_weights/mod.ts";
import * as library from "../ops/recurrence/mod.ts";
import * as reference from "../reference/mod.ts";
import type { Random } from "./random.ts";

/** What a tensor of a case looks like. */
export type Drawing =
  | "normal" // standard normal
  | "positive" // its absolute value
  | "short" // a fifth of a standard normal
  | "alike" // 1, give or take a tenth
  | "equal" // 1
  | "zero"
  | "two"
  | "mixture" // 0 or −20
  | "weights" // normal / 4, of a layer with 16 channels
  | "gate" // logsigmoid(normal) / 16
  | "decay" // −e^normal
  | "reset" // 0, −20, −1e4, −1e30 or −∞
  | "uniform" // 0 to 1
  | "rates" // −1 to −0.1
  | "lasting" // 8 + normal
  | "high" // 80 + normal
  | "open" // 30
  | "shut" // −30
  | "saturated" // 30 or −30
  | "mixed" // normal, 30 or −30
  | "large" // 1e4 normal
  | "masked"; // normal, or −∞ in one of three

/** Draws an element of a tensor. */
export const DRAWINGS: Readonly<Record<Drawing, (random: Random) => number>> = {
  normal: (random) => random.normal(),
  positive: (random) => Math.abs(random.normal()),
  short: (random) => 0.2 * random.normal(),
  alike: (random) => 1 + 0.1 * random.normal(),
  equal: () => 1,
  zero: () => 0,
  two: () => 2,
  mixture: (random) => random.pick([0, -20]),
  weights: (random) => random.normal() / 4,
  gate: (random) => -Math.log1p(Math.exp(-random.normal())) / 16,
  decay: (random) => -Math.exp(random.normal()),
  reset: (random) => random.pick([0, 0, 0, -20, -1e4, -1e30, -Infinity]),
  uniform: (random) => random.next(),
  rates: (random) => -0.1 - 0.9 * random.next(),
  lasting: (random) => 8 + random.normal(),
  high: (random) => 80 + random.normal(),
  open: () => 30,
  shut: () => -30,
  saturated: (random) => random.pick([30, -30]),
  mixed: (random) => random.pick([random.normal(), 30, -30]),
  large: (random) => 1e4 * random.normal(),
  masked: (random) => random.next() < 1 / 3 ? -Infinity : random.normal(),
};

/** A tensor of a family. */
export interface FamilyTensor {
  /** B, T, N sequences, HQ, HK, HV, K, V, and what feature maps make of K: `"B T HQ K"`. */
  readonly axes: string;
  /** Normal by default. */
  readonly draw?: Drawing;
  /** That of the case by default. */
  readonly dtype?: "f32";
}

/** Tensors by name. */
export type FamilyTensors = Readonly<Record<string, FamilyTensor>>;

/** Options that are no tensors. */
export type FamilyOptions = Readonly<Record<string, unknown>>;

/** A named recurrence: its tensors, the operators of the library and the oracle. */
export interface Family {
  /** Those that it must have, in order. */
  readonly parameters: FamilyTensors;
  /** Options that are tensors and must be given. */
  readonly required?: FamilyTensors;
  /** Options that are tensors, except the state. */
  readonly optional?: FamilyTensors;
  /** The initial state, by names with a dot where it is a record; one tensor by default. */
  readonly state?: (options: FamilyOptions) => FamilyTensors;
  readonly operator: (...args: never[]) => { readonly finalState?: object };
  readonly step: (...args: never[]) => Tensor;
  readonly reference: (...args: never[]) => object;
}

/** The usual initial state. */
export const STATE: FamilyTensors = { initialState: { axes: "N HV K V", dtype: "f32" } };

const QUERIES: FamilyTensors = { q: { axes: "B T HQ K" } };
const VALUES: FamilyTensors = { v: { axes: "B T HV V" } };
const QKV: FamilyTensors = { ...QUERIES, k: { axes: "B T HK K" }, ...VALUES };

/** The state of so many rows, a record of it and the running sum of the keys where there is one. */
const stateOf = (rows: string, normalize: boolean): FamilyTensors =>
  normalize
    ? {
      "initialState.s": { axes: `N HV ${rows} V`, dtype: "f32" },
      "initialState.z": { axes: `N HV ${rows}`, dtype: "f32", draw: "positive" },
    }
    : { initialState: { axes: `N HV ${rows} V`, dtype: "f32" } };

/** Rows of the state by feature map, where they are not K. */
const FEATURES: Readonly<Record<string, string>> = { taylor2: "TAYLOR", hedgehog: "HEDGEHOG" };

/** Keys that are short enough for a delta rule to contract. */
const KEYS: FamilyTensors = { k: { axes: "B T HK K", draw: "short" } };
const BETA: FamilyTensors = { beta: { axes: "B T HV", draw: "uniform" } };
const DELTA: FamilyTensors = { ...KEYS, ...VALUES, ...BETA };
const QKV_KEYS: FamilyTensors = { ...KEYS, ...VALUES };
const PAIR: FamilyTensors = {
  a: { axes: "B T HK K", draw: "short" },
  b: { axes: "B T HV K", draw: "short" },
};

/** The named recurrences. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  linearAttention: {
    parameters: QKV,
    optional: { hedgehogWeights: { axes: "K K", draw: "weights" } },
    state: ({ featureMap = "identity", normalize = featureMap !== "identity" }) =>
      stateOf(FEATURES[String(featureMap)] ?? "K", normalize === true),
    ...{ operator: library.linearAttention, step: library.linearAttentionStep },
    reference: reference.linearAttention,
  },
  based: {
    parameters: QKV,
    state: () => stateOf("TAYLOR", true),
    ...{ operator: library.based, step: library.basedStep, reference: reference.based },
  },
  retention: {
    parameters: QKV,
    ...{ operator: library.retention, step: library.retentionStep, reference: reference.retention },
  },
  lightningAttention: {
    parameters: QKV,
    ...{ operator: library.lightningAttention, step: library.lightningAttentionStep },
    reference: reference.lightningAttention,
  },
  simpleGla: {
    parameters: { ...QKV, g: { axes: "B T HV", draw: "gate" } },
    ...{ operator: library.simpleGla, step: library.simpleGlaStep, reference: reference.simpleGla },
  },
  gla: {
    parameters: { ...QKV, g: { axes: "B T HV K", draw: "gate" } },
    optional: { gv: { axes: "B T HV V", draw: "gate" } },
    ...{ operator: library.gla, step: library.glaStep, reference: reference.gla },
  },
  hgrn2: {
    parameters: { ...QUERIES, f: QKV.k, ...VALUES },
    optional: { lowerBound: { axes: "HK K", draw: "uniform" } },
    ...{ operator: library.hgrn2, step: library.hgrn2Step, reference: reference.hgrn2 },
  },
  lightNet: {
    parameters: QKV,
    state: () => ({
      "initialState.s": { axes: "N HV K V", dtype: "f32" },
      "initialState.z": { axes: "N HK K", dtype: "f32" },
    }),
    ...{ operator: library.lightNet, step: library.lightNetStep, reference: reference.lightNet },
  },
  mlstm: {
    parameters: { ...QKV, i: { axes: "B T HV" }, f: { axes: "B T HV" } },
    state: () => ({
      "initialState.c": { axes: "N HV K V", dtype: "f32" },
      "initialState.n": { axes: "N HV K", dtype: "f32", draw: "positive" },
      "initialState.m": { axes: "N HV", dtype: "f32" },
    }),
    ...{ operator: library.mlstm, step: library.mlstmStep, reference: reference.mlstm },
  },
  mamba2: {
    parameters: {
      x: VALUES.v,
      dt: { axes: "B T HV", draw: "uniform" },
      a: { axes: "HV", draw: "rates" },
      b: QKV.k,
      c: QUERIES.q,
    },
    optional: { d: { axes: "HV" }, z: VALUES.v, dtBias: { axes: "HV" } },
    ...{ operator: library.mamba2, step: library.mamba2Step, reference: reference.mamba2 },
  },
  rwkv6: {
    parameters: {
      ...{ r: QUERIES.q, k: QKV.k, ...VALUES },
      w: { axes: "B T HV K", draw: "decay" },
      u: { axes: "HK K" },
    },
    ...{ operator: library.rwkv6, step: library.rwkv6Step, reference: reference.rwkv6 },
  },
  deltaRule: {
    parameters: { ...QUERIES, ...DELTA },
    ...{ operator: library.deltaRule, step: library.deltaRuleStep, reference: reference.deltaRule },
  },
  gatedDeltaRule: {
    parameters: { ...QUERIES, ...KEYS, ...VALUES, g: { axes: "B T HV", draw: "gate" }, ...BETA },
    optional: { aLog: { axes: "HV" }, dtBias: { axes: "HV" } },
    ...{ operator: library.gatedDeltaRule, step: library.gatedDeltaRuleStep },
    reference: reference.gatedDeltaRule,
  },
  kda: {
    parameters: { ...QUERIES, ...KEYS, ...VALUES, g: { axes: "B T HV K", draw: "gate" }, ...BETA },
    optional: { aLog: { axes: "HV" }, dtBias: { axes: "HV K" } },
    ...{ operator: library.kda, step: library.kdaStep, reference: reference.kda },
  },
  comba: {
    parameters: {
      ...{ ...QUERIES, ...KEYS, ...VALUES, p: { axes: "B T HK K", draw: "short" } },
      ...{ g: { axes: "B T HV", draw: "gate" }, ...BETA },
    },
    ...{ operator: library.comba, step: library.combaStep, reference: reference.comba },
  },
  gdn2: {
    parameters: {
      ...{ ...QUERIES, ...KEYS, ...VALUES, g: { axes: "B T HV K", draw: "gate" } },
      erase: { axes: "B T HV K", draw: "uniform" },
      write: { axes: "B T HV V", draw: "uniform" },
    },
    ...{ operator: library.gdn2, step: library.gdn2Step, reference: reference.gdn2 },
  },
  dplr: {
    parameters: { ...QUERIES, ...QKV_KEYS, ...PAIR, g: { axes: "B T HV K", draw: "gate" } },
    ...{ operator: library.dplr, step: library.dplrStep, reference: reference.dplr },
  },
  rwkv7: {
    parameters: {
      ...{ r: QUERIES.q, w: { axes: "B T HV K", draw: "gate" }, ...QKV_KEYS, ...PAIR },
    },
    ...{ operator: library.rwkv7, step: library.rwkv7Step, reference: reference.rwkv7 },
  },
  deltaProduct: {
    parameters: {
      ...{ ...QUERIES, k: { axes: "B TN HK K", draw: "short" }, v: { axes: "B TN HV V" } },
      ...{ g: { axes: "B T HV", draw: "gate" }, beta: { axes: "B TN HV", draw: "uniform" } },
    },
    ...{ operator: library.deltaProduct, step: library.deltaProductStep },
    reference: reference.deltaProduct,
  },
};

/** Rates small enough for a gradient step to contract. */
const RATES: FamilyTensor = { axes: "B T HV", draw: "uniform" };

/** Weights that learn in mini-batches, which have no chunks and no reverse. */
export const FAST_WEIGHTS: Readonly<Record<string, Family>> = {
  tttLinear: {
    parameters: {
      ...{ ...QUERIES, ...KEYS, ...VALUES, w: { axes: "HV V" }, b: { axes: "HV V" } },
      eta: RATES,
    },
    state: () => ({
      "initialState.w": { axes: "N HV K V", dtype: "f32", draw: "short" },
      "initialState.b": { axes: "N HV V", dtype: "f32" },
    }),
    ...{ operator: tttLinear, step: tttLinearStep, reference: reference.tttLinear },
  },
  titansMemory: {
    parameters: { ...QUERIES, ...KEYS, ...VALUES },
    required: { theta: RATES },
    optional: { eta: RATES, alpha: RATES },
    state: () => ({
      "initialState.m": { axes: "N HV K V", dtype: "f32" },
      "initialState.s": { axes: "N HV K V", dtype: "f32" },
    }),
    ...{ operator: titansMemory, step: titansMemoryStep, reference: reference.titansMemory },
  },
};
