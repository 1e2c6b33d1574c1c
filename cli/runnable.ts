import { Tensor } from "../gpu/tensor.ts";
import { attention } from "../ops/attention/mod.ts";
import { causalConv1d } from "../ops/conv/mod.ts";
import {
  neighborhoodAttention,
  neighborhoodScores,
  neighborhoodValues,
} from "../ops/neighborhood/mod.ts";
import {
  based,
  comba,
  deltaProduct,
  deltaRule,
  dplr,
  gatedDeltaRule,
  gdn2,
  gla,
  hgrn2,
  kda,
  lightNet,
  lightningAttention,
  linearAttention,
  linearAttentionFull,
  mamba2,
  recurrence,
  retention,
  rwkv6,
  rwkv7,
  simpleGla,
} from "../ops/recurrence/mod.ts";
import { hgrn, logCumsumExp, scan, softmaxScan } from "../ops/scan/mod.ts";
import { selectiveScan } from "../ops/selective_scan/mod.ts";

/** An operator as `run` calls it: tensors by name, then the other options. */
export interface Runnable {
  /** Tensor parameters, in order. */
  readonly parameters: readonly string[];
  /** Options that are tensors, those of a record by names with a dot. */
  readonly tensorOptions: readonly string[];
  /** Options that ask for every output. */
  readonly allOutputs: Readonly<Record<string, unknown>>;
  /** Outputs by name; a single one is `out`. */
  call(tensors: readonly Tensor[], options: Record<string, unknown>): object;
}

/** What a family of operators shares. */
type Shared = Pick<Runnable, "tensorOptions" | "allOutputs">;

const STATES = ["initialState", "cuSeqlens"];
const RECORDS = ["initialState", "initialState.s", "initialState.z", "cuSeqlens"];
const FINAL = { finalState: true };

/** Operators by their names in the library. */
export const RUNNABLE: Readonly<Record<string, Runnable>> = {
  attention: runnable(attention, "q k v", {
    tensorOptions: ["sinks", "bias"],
    allOutputs: { lse: true },
  }),
  neighborhoodAttention: runnable(neighborhoodAttention, "q k v", {
    tensorOptions: ["additionalKeys", "additionalValues"],
    allOutputs: { lse: true },
  }),
  neighborhoodScores: runnable(neighborhoodScores, "q k", { tensorOptions: [], allOutputs: {} }),
  neighborhoodValues: runnable(neighborhoodValues, "weights v", {
    tensorOptions: [],
    allOutputs: {},
  }),
  recurrence: runnable(recurrence, "q k v", {
    tensorOptions: ["g", "gv", "beta", "p", "a", "b", "u", ...RECORDS],
    allOutputs: FINAL,
  }),
  linearAttention: runnable(linearAttention, "q k v", {
    tensorOptions: ["hedgehogWeights", ...RECORDS],
    allOutputs: FINAL,
  }),
  based: runnable(based, "q k v", {
    tensorOptions: ["initialState.s", "initialState.z", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  linearAttentionFull: runnable(linearAttentionFull, "q k v", {
    tensorOptions: ["tokenWeights", "hedgehogWeights"],
    allOutputs: {},
  }),
  retention: runnable(retention, "q k v", { tensorOptions: STATES, allOutputs: FINAL }),
  lightningAttention: runnable(lightningAttention, "q k v", {
    tensorOptions: STATES,
    allOutputs: FINAL,
  }),
  simpleGla: runnable(simpleGla, "q k v g", { tensorOptions: STATES, allOutputs: FINAL }),
  gla: runnable(gla, "q k v g", { tensorOptions: ["gv", ...STATES], allOutputs: FINAL }),
  hgrn2: runnable(hgrn2, "q f v", { tensorOptions: STATES, allOutputs: FINAL }),
  lightNet: runnable(lightNet, "q k v", {
    tensorOptions: ["initialState.s", "initialState.z", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  mamba2: runnable(mamba2, "x dt a b c", {
    tensorOptions: ["d", "z", "dtBias", ...STATES],
    allOutputs: FINAL,
  }),
  rwkv6: runnable(rwkv6, "r k v w u", { tensorOptions: STATES, allOutputs: FINAL }),
  deltaRule: runnable(deltaRule, "q k v beta", { tensorOptions: STATES, allOutputs: FINAL }),
  gatedDeltaRule: runnable(gatedDeltaRule, "q k v g beta", {
    tensorOptions: ["aLog", "dtBias", ...STATES],
    allOutputs: FINAL,
  }),
  deltaProduct: runnable(deltaProduct, "q k v g beta", {
    tensorOptions: STATES,
    allOutputs: FINAL,
  }),
  kda: runnable(kda, "q k v g beta", {
    tensorOptions: ["aLog", "dtBias", ...STATES],
    allOutputs: FINAL,
  }),
  comba: runnable(comba, "q k v p g beta", { tensorOptions: STATES, allOutputs: FINAL }),
  gdn2: runnable(gdn2, "q k v g erase write", { tensorOptions: STATES, allOutputs: FINAL }),
  dplr: runnable(dplr, "q k v a b g", { tensorOptions: STATES, allOutputs: FINAL }),
  rwkv7: runnable(rwkv7, "r w k v a b", { tensorOptions: STATES, allOutputs: FINAL }),
  scan: runnable(scan, "a b", { tensorOptions: STATES, allOutputs: FINAL }),
  hgrn: runnable(hgrn, "x g", { tensorOptions: STATES, allOutputs: FINAL }),
  logCumsumExp: runnable(logCumsumExp, "x", { tensorOptions: STATES, allOutputs: FINAL }),
  softmaxScan: runnable(softmaxScan, "s v", {
    tensorOptions: [...STATES, "initialState.m", "initialState.u", "initialState.w"],
    allOutputs: FINAL,
  }),
  selectiveScan: runnable(selectiveScan, "u delta a b c", {
    tensorOptions: ["d", "z", "deltaBias", ...STATES],
    allOutputs: FINAL,
  }),
  causalConv1d: runnable(causalConv1d, "x weight", {
    tensorOptions: ["bias", "state", "cuSeqlens"],
    allOutputs: FINAL,
  }),
};

/** An operator of the library: its tensors, then one options object. */
function runnable(
  operator: (...args: never[]) => object,
  parameters: string,
  shared: Shared,
): Runnable {
  const called = operator as (...args: unknown[]) => object;
  return {
    parameters: parameters.split(" "),
    ...shared,
    call(tensors, options) {
      const result = called(...tensors, options);
      return result instanceof Tensor ? { out: result } : result;
    },
  };
}
