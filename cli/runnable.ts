import { checkOptionNames } from "../gpu/options.ts";
import { Tensor } from "../gpu/tensor.ts";
import { assignCentroids } from "../ops/centroids/mod.ts";
import { causalConv1d } from "../ops/conv/mod.ts";
import { hashTokens } from "../ops/hash/mod.ts";
import { logLinearAttention } from "../ops/log_linear/mod.ts";
import { titansMemory, tttLinear } from "../ops/fast_weights/mod.ts";
import {
  neighborhoodAttention,
  neighborhoodScores,
  neighborhoodValues,
} from "../ops/neighborhood/mod.ts";
import { poolTokens } from "../ops/pool/mod.ts";
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
  mlstm,
  recurrence,
  retention,
  rwkv6,
  rwkv7,
  simpleGla,
} from "../ops/recurrence/mod.ts";
import { rope } from "../ops/rope/mod.ts";
import { hgrn, logCumsumExp, scan, softmaxScan } from "../ops/scan/mod.ts";
import {
  argSort,
  gatherTokens,
  scatterTokens,
  selectThreshold,
  selectTopK,
  selectTopP,
} from "../ops/select/mod.ts";
import { selectiveScan } from "../ops/selective_scan/mod.ts";
import { attentionStatistics, type AttentionStatisticsOptions } from "../ops/statistics/mod.ts";
import { selectTree } from "../ops/tree/mod.ts";
import { withHooks } from "./ready_made.ts";
import { RUN_ATTENTION } from "./run_attention.ts";
import { RUN_MERGE } from "./run_merge.ts";

/** An operator as `run` calls it: tensors by name, then the other options. */
export interface Runnable {
  /** Tensor parameters, in order. */
  readonly parameters: readonly string[];
  /** Options that are tensors, those of a record by names with a dot. */
  readonly tensorOptions: readonly string[];
  /** Those of them that may be numbers of the JSON instead. */
  readonly numbersToo?: readonly string[];
  /** Options that are records of tensors and numbers with names of the user's: `inputs.slope.npy`. */
  readonly openRecords?: readonly string[];
  /** Options that ask for every output. */
  readonly allOutputs: Readonly<Record<string, unknown>>;
  /** Outputs by name; a single one is `out`. */
  call(tensors: readonly Tensor[], options: Record<string, unknown>): object;
}

/** What a family of operators shares. */
type Shared = Omit<Runnable, "parameters" | "call">;

const STATES = ["initialState", "cuSeqlens"];
const RECORDS = ["initialState", "initialState.s", "initialState.z", "cuSeqlens"];
const FINAL = { finalState: true };
const NOTHING: Shared = { tensorOptions: [], allOutputs: {} };

/** Operators by their names in the library. */
export const RUNNABLE: Readonly<Record<string, Runnable>> = {
  attention: RUN_ATTENTION,
  mergeAttention: RUN_MERGE,
  attentionStatistics: runnable(
    (q: Tensor<"f32">, k: Tensor<"f32">, options: AttentionStatisticsOptions) =>
      q.gpu.scope(() => attentionStatistics(q, k, withHooks(q.gpu, options))),
    "q k",
    {
      tensorOptions: ["bias"],
      openRecords: ["inputs"],
      // topK and blockMax need a size
      allOutputs: { lse: true, entropy: true, argMax: true, columnSums: true, diagonalSums: true },
    },
  ),
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
  hgrn2: runnable(hgrn2, "q f v", {
    tensorOptions: ["lowerBound", ...STATES],
    numbersToo: ["lowerBound"],
    allOutputs: FINAL,
  }),
  lightNet: runnable(lightNet, "q k v", {
    tensorOptions: ["initialState.s", "initialState.z", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  mlstm: runnable(mlstm, "q k v i f", {
    tensorOptions: ["initialState.c", "initialState.n", "initialState.m", "cuSeqlens"],
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
  tttLinear: runnable(tttLinear, "q k v w b eta", {
    tensorOptions: ["initialState.w", "initialState.b", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  titansMemory: runnable(titansMemory, "q k v", {
    tensorOptions: [
      ...["theta", "eta", "alpha"],
      ...["initialState.m", "initialState.s", "cuSeqlens"],
    ],
    allOutputs: FINAL,
  }),
  logLinearAttention: runnable(logLinearAttention, "q k v g lambda", {
    tensorOptions: ["initialState.s", "initialState.t", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  causalConv1d: runnable(causalConv1d, "x weight", {
    tensorOptions: ["bias", "state", "cuSeqlens"],
    allOutputs: FINAL,
  }),
  rope: runnable(rope, "x", { tensorOptions: ["positions", "frequencies"], allOutputs: {} }),
  poolTokens: runnable(poolTokens, "x", {
    tensorOptions: ["weights", "cuSeqlens"],
    allOutputs: {},
  }),
  selectTopK: runnable(
    (scores: Tensor, options: { k: number }) => {
      checkOptionNames("select the top k", options, ["k"]);
      return selectTopK(scores, options.k);
    },
    "scores",
    NOTHING,
  ),
  selectTopP: runnable(
    (scores: Tensor, { p, ...options }: { p: number }) => selectTopP(scores, p, options),
    "scores",
    NOTHING,
  ),
  selectThreshold: runnable(
    (scores: Tensor, { t, ...options }: { t: number }) => selectThreshold(scores, t, options),
    "scores",
    NOTHING,
  ),
  argSort: runnable(argSort, "x", NOTHING),
  gatherTokens: runnable(
    (x: Tensor<"f32">, indices: Tensor<"i32">, options: object) => {
      checkOptionNames("gather tokens", options, []);
      return gatherTokens(x, indices);
    },
    "x indices",
    NOTHING,
  ),
  scatterTokens: runnable(scatterTokens, "x indices", NOTHING),
  assignCentroids: runnable(assignCentroids, "x centroids", NOTHING),
  hashTokens: runnable(hashTokens, "x planes", NOTHING),
  selectTree: runnable(selectTree, "q k", NOTHING),
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
