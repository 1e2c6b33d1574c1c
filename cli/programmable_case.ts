import type { AttentionWindow } from "../ops/attention/window.ts";
import type { AttentionSizes } from "../ops/attention/sizes.ts";
import type { MaskHook, ScoreHook } from "../reference/mod.ts";
import type { HookPair, WeightPair } from "./hook_pairs.ts";
import { type HostTensor, hostTensor, type InputKind, spreadOf } from "./host_tensor.ts";
import { cacheShape, type KeyCase } from "./programmable_keys.ts";
import { Random } from "./random.ts";

/** A problem of programmable attention with everything that determines its inputs. */
export interface ProgrammableCase extends AttentionSizes {
  readonly dtype: "f32" | "f16";
  readonly inputs: InputKind;
  readonly seed: number;
  readonly schedule: string;
  readonly causal?: boolean | "top-left";
  readonly window?: AttentionWindow;
  readonly softcap?: number;
  /** Whether there are a bias `[1, Hq, T, S]` and sinks. */
  readonly biased?: boolean;
  readonly scores: readonly HookPair<ScoreHook>[];
  readonly masks: readonly HookPair<MaskHook>[];
  readonly weight: WeightPair;
  readonly keys: KeyCase;
}

/** The tensors of a case on the host, but those of hooks and keys. */
export interface ProgrammableInputs extends Readonly<Record<"q" | "k" | "v", HostTensor>> {
  readonly bias?: HostTensor;
  readonly sinks?: HostTensor;
}

/** One line that tells a case from its neighbours. */
export function programmableName(c: ProgrammableCase): string {
  const { schedule, dtype, inputs, causal, window, softcap, weight } = c;
  return [
    `${schedule} B${c.batch} T${c.qLen} S${c.kvLen} H${c.heads}/${c.kvHeads}`,
    `D${c.headDim}/${c.valueDim} ${dtype}`,
    ...(inputs === "normal" ? [] : [inputs]),
    ...(causal ? [`causal ${causal}`] : []),
    ...(window ? [`window ${window.left ?? "∞"},${window.right ?? "∞"}`] : []),
    ...(softcap ? [`softcap ${softcap}`] : []),
    ...(c.biased ? ["bias sinks"] : []),
    ...[...c.scores, ...c.masks].map(({ name }) => name),
    ...(weight.name === "softmax" ? [] : [weight.name]),
    ...Object.values(c.keys).flatMap((value) => value === "row" ? [] : [`${value}`]),
  ].join(" ");
}

/** Makes q, k, v, bias and sinks. */
export function programmableInputs(c: ProgrammableCase): ProgrammableInputs {
  const random = new Random(c.seed);
  const normal = (factor = 1) => (): number => factor * random.normal();
  const [batch, length] = cacheShape(c);
  const spread = spreadOf(c.inputs);
  return {
    q: hostTensor(c.dtype, [c.batch, c.qLen, c.heads, c.headDim], normal(spread)),
    k: hostTensor(c.dtype, [batch, length, c.kvHeads, c.headDim], normal()),
    v: hostTensor(c.dtype, [batch, length, c.kvHeads, c.valueDim], normal()),
    ...(c.biased && {
      bias: hostTensor(c.dtype, [1, c.heads, c.qLen, c.kvLen], normal()),
      sinks: hostTensor("f32", [c.heads], normal()),
    }),
  };
}

/** Options that operator and oracle take alike. */
export function plainOptions(
  { causal, window, softcap }: ProgrammableCase,
): Pick<ProgrammableCase, "causal" | "window" | "softcap"> {
  return {
    ...(causal && { causal }),
    ...(window && { window }),
    ...(softcap && { softcap }),
  };
}
