import { kindOf } from "../../gpu/dtype.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { checkFlags, oneOf } from "../options.ts";
import { checkRank, checkShared, checkTensors } from "../tensors.ts";
import { type HooksConfig, NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { type WeightConfig, type WeightName, WEIGHTS } from "../../kernels/attention/weights.ts";
import { checkHookBindings } from "./hook_bindings.ts";
import {
  type CheckedHooks,
  checkHooks,
  HOOK_OPTIONS,
  type HookOptions,
  hookTensors,
  joinedHooks,
} from "./hooks.ts";
import { BlockMap, masksOf } from "../block_map/map.ts";
import {
  checkKeys,
  IN_A_ROW,
  KEY_OPTIONS,
  type KeyLayout,
  type KeyOptions,
  keyTensors,
} from "./key_layout.ts";
import { ACTION, fail } from "./refusal.ts";
import type { AttentionSchedule } from "./schedule.ts";
import {
  checkBias,
  checkGates,
  checkSinks,
  checkSoftcap,
  type ScoreInput,
} from "./score_inputs.ts";
import { type AttentionWindow, type Band, checkBand } from "./window.ts";
import {
  areCopyable,
  type AttentionSizes,
  checkElem,
  checkLse,
  checkScale,
  checkSizes,
} from "./sizes.ts";

/** Options of {@linkcode attention}; B batch, T queries, S keys, Hq query heads. */
export interface AttentionOptions extends HookOptions, KeyOptions {
  /**
   * Multiplies q · k.
   *
   * @default {D^-1/2}
   */
  scale?: number;
  /**
   * Hides later keys. `true`: query i sees keys j ≤ i + S − T, so that the last query sees all;
   * `"top-left"`: j ≤ i.
   *
   * @default {false}
   */
  causal?: boolean | "top-left";
  /**
   * Hides keys more than `left` before or `right` behind the diagonal, i + S − T, or i where
   * `causal` is `"top-left"`; a missing side is unbounded.
   */
  window?: AttentionWindow;
  /** Turns scores s into softcap · tanh(s / softcap), before the bias. */
  softcap?: number;
  /** `[Hq]`, f32 or f16: a logit per head that joins the denominator only. */
  sinks?: Tensor;
  /**
   * `[B, T, Hq]`, f32 or f16: multiplies the outputs (mixture of heads). A row whose gate is 0 sees no
   * key, and a tile of such rows costs nothing.
   */
  gates?: Tensor;
  /** `[B|1, Hq|1, T|1, S]`, f32 or f16: added to the scores; −∞ hides a key. */
  bias?: Tensor;
  /** The same as `weight`, by name. */
  normalizer?: WeightName;
  /**
   * Whether `lse` is returned; softmax alone has one.
   *
   * @default {false}
   */
  lse?: boolean;
  /**
   * Whether what merges of parts need is returned, as far as the weights need something: lse for
   * softmax, the sum of the weights where they are divided by it, and the logarithm of what is left
   * of the stick.
   *
   * @default {false}
   */
  aux?: boolean;
  /** Overrides the kernel: a kind, the name of a valid schedule, or a schedule. */
  schedule?: string | AttentionSchedule;
}

/** Keys and values of their own count, E. */
export interface AdditionalKeys {
  readonly count: number;
}

/** What attention is to compute, validated; no tensors and no GPU. */
export interface AttentionProblem extends AttentionSizes {
  readonly elem: "f32" | "f16";
  readonly scale: number;
  readonly band: Band | null;
  /** Where the keys are that a query may see. */
  readonly keys: KeyLayout;
  /** Keys that every query sees beside those of its pattern. */
  readonly additional: AdditionalKeys | null;
  readonly softcap: number | null;
  readonly bias: ScoreInput | null;
  readonly sinks: ScoreInput | null;
  readonly gates: ScoreInput | null;
  /** How scores become weights. */
  readonly weight: WeightConfig;
  /** What the caller wrote. */
  readonly hooks: HooksConfig;
  /** Whether lse, or what the weights have in its place, is returned. */
  readonly lse: boolean;
  /** Whether q, k and v may be copied (their buffers have `COPY_SRC`). */
  readonly copyable: boolean;
  readonly schedule: string | AttentionSchedule | null;
}

/** A problem, the device that computes it, and what the caller wrote. */
export interface CheckedAttention {
  readonly problem: AttentionProblem;
  readonly gpu: Gpu;
  readonly written: CheckedHooks;
}

const AXES = ["B", "length", "heads", "dim"];
const OPTIONS: readonly (keyof AttentionOptions)[] = [
  "scale",
  "causal",
  "window",
  "softcap",
  "sinks",
  "gates",
  "bias",
  "normalizer",
  "lse",
  "aux",
  "schedule",
  ...HOOK_OPTIONS,
  ...KEY_OPTIONS,
];
/** Validates the arguments of attention: the one place that throws for them. */
export function attentionProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions,
): CheckedAttention {
  checkOptionNames(ACTION, options, OPTIONS);
  const { sinks, gates, bias, lse = false, aux = false, schedule = null } = options;
  const { cuSeqlensQ, cuSeqlensKv, kvLengths, pageTable, keyIndices } = options;
  const others = { sinks, gates, bias, cuSeqlensQ, cuSeqlensKv, kvLengths, pageTable, keyIndices };
  const there = Object.entries(others).filter(([, tensor]) => tensor !== undefined);
  const gpu = checkTensors(ACTION, { q, k, v, ...Object.fromEntries(there) });
  const sizes = checkShapes(q, k, v, pageTable);
  checkLse(ACTION, lse);
  checkFlags(ACTION, { aux });
  checkSchedule(schedule);
  const written = withMasks(
    checkHooks(ACTION, { ...options, ...normalizerOf(options) }),
    options.blockMap,
  );
  const { hooks, weight } = written;
  checkTensors(ACTION, { q, ...hookTensors(written) });
  checkWeights(weight, options);
  const keys = checkKeys(options, { ...sizes, gpu, action: ACTION, shape: k.shape });
  const bound = [bias, sinks, gates, ...Object.values(keyTensors(options))];
  const tables = keys.kind === "packed" ? 2 : 0; // sequences and tasks
  const own = 5 + tables + bound.filter((tensor) => tensor !== undefined).length; // q, k, v, out, aux
  checkHookBindings(ACTION, gpu, written, own);
  // elsewhere than in a row, bands count within sequences
  const [qLen, kvLen] = keys.kind === "row" ? [sizes.qLen, sizes.kvLen] : [0, 0];
  const scale = checkScale(ACTION, options.scale, sizes.headDim);
  const problem: AttentionProblem = {
    ...{ ...sizes, scale },
    elem: checkElem(ACTION, { q, k, v }),
    band: checkBand(options, qLen, kvLen),
    keys,
    additional: null,
    softcap: checkSoftcap(options.softcap, scale),
    bias: bias ? checkBias(bias, sizes) : null,
    sinks: sinks ? checkSinks(sinks, sizes.heads) : null,
    gates: gates ? checkGates(gates, sizes) : null,
    ...{ weight, hooks },
    lse: lse || (aux && weight.rule !== "plain"),
    copyable: areCopyable([q, k, v]),
    schedule,
  };
  return { problem, gpu, written };
}

/** The hooks of a call and the masks of its block map. */
function withMasks(written: CheckedHooks, map: BlockMap | undefined): CheckedHooks {
  return map instanceof BlockMap ? joinedHooks(ACTION, written, masksOf(map)) : written;
}

/** The option `normalizer`, as the weight that it names. */
function normalizerOf({ normalizer, weight }: AttentionOptions): HookOptions {
  if (normalizer === undefined) return {};
  oneOf(ACTION, "normalizer", normalizer, Object.keys(WEIGHTS));
  if (weight !== undefined) fail(`weight and normalizer must not both be given: they are`);
  return { weight: normalizer };
}

function checkSchedule(schedule: unknown): void {
  const { kind } = Object(schedule);
  if (schedule === null || typeof schedule === "string" || typeof kind === "string") return;
  throw new TypeError(
    `Cannot ${ACTION} as schedule must be a name or a schedule: schedule is ${kindOf(schedule)}`,
  );
}

/** Refuses what only softmax has. */
function checkWeights({ rule }: WeightConfig, { sinks, lse }: AttentionOptions): void {
  if (rule === "softmax") return;
  if (sinks !== undefined) fail(`sinks must come with the weight softmax: the weight is another`);
  if (lse) fail(`lse must come with the weight softmax: the weight is another, ask for aux`);
}

/** A problem from plain values, for planning without tensors. */
export function attentionProblemOf(
  plain: AttentionSizes & {
    dtype: "f32" | "f16";
    scale?: number;
    causal?: boolean | "top-left";
    window?: AttentionWindow;
    softcap?: number;
    schedule?: string | AttentionSchedule;
  },
): AttentionProblem {
  const { batch, qLen, kvLen, heads, kvHeads, headDim, valueDim } = plain;
  const { dtype, causal, window, softcap } = plain;
  const scale = checkScale(ACTION, plain.scale, headDim);
  return {
    ...checkSizes(ACTION, { batch, qLen, kvLen, heads, kvHeads, headDim, valueDim }),
    ...{ elem: dtype, scale },
    band: checkBand({ ...(causal && { causal }), ...(window && { window }) }, qLen, kvLen),
    keys: IN_A_ROW,
    additional: null,
    softcap: checkSoftcap(softcap, scale),
    bias: null,
    sinks: null,
    gates: null,
    weight: WEIGHTS.softmax,
    hooks: NO_HOOKS,
    lse: false,
    copyable: true,
    schedule: plain.schedule ?? null,
  };
}

function checkShapes(q: Tensor, k: Tensor, v: Tensor, pageTable?: Tensor): AttentionSizes {
  for (const [name, tensor] of Object.entries({ q, k, v })) checkRank(ACTION, name, tensor, AXES);
  const [batch, qLen, heads, headDim] = q.shape;
  const [kBatch, kLen, kvHeads, kDim] = k.shape;
  const [vBatch, vLen, vHeads, valueDim] = v.shape;
  if (pageTable === undefined) {
    checkShared(ACTION, "a batch", { q: batch, k: kBatch, v: vBatch });
    checkShared(ACTION, "a length", { k: kLen, v: vLen });
  } else {
    checkShared(ACTION, "a number of pages", { k: kBatch, v: vBatch });
    checkShared(ACTION, "a page size", { k: kLen, v: vLen });
    if (k.size === 0) {
      fail(`k must have a page with a token where there is a pageTable: k is [${k.shape}]`);
    }
  }
  const kvLen = kLen * (pageTable?.shape.at(-1) ?? 1);
  checkShared(ACTION, "heads", { k: kvHeads, v: vHeads });
  checkShared(ACTION, "a head dim", { q: headDim, k: kDim });
  return checkSizes(ACTION, { batch, qLen, kvLen, heads, kvHeads, headDim, valueDim });
}
