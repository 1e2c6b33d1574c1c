import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attention } from "../ops/attention/mod.ts";
import type { AttentionOptions } from "../ops/attention/problem.ts";
import type { AttentionWindow } from "../ops/attention/window.ts";
import type { AttentionSchedule } from "../ops/attention/schedule.ts";
import type { AttentionSizes } from "../ops/attention/sizes.ts";
import { attention as reference, type WeighedAttention } from "../reference/mod.ts";
import { hookOptions, type HookTexts, oneLine, oracleHooks } from "./attention_hooks.ts";
import { type CaseKeys, keyShape, loadKeys } from "./attention_keys.ts";
import { compareHeads, type Comparison } from "./compare.ts";
import { type HostTensor, hostTensor, type InputKind, spreadOf } from "./host_tensor.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
export interface AttentionCase extends AttentionSizes, HookTexts, CaseKeys {
  readonly dtype: "f32" | "f16";
  readonly inputs: InputKind;
  readonly seed: number;
  readonly scale?: number;
  readonly causal?: boolean | "top-left";
  readonly window?: AttentionWindow;
  readonly softcap?: number;
  readonly sinks?: boolean;
  /** Which axes of `[B, Hq, T]` the bias has in full. */
  readonly bias?: readonly [boolean, boolean, boolean];
  readonly lse?: boolean;
  readonly schedule?: string | AttentionSchedule;
}

/** The inputs of a case on the host. */
export interface AttentionInputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly bias?: HostTensor;
  readonly sinks?: HostTensor;
}

/** A case on the device, ready to be computed many times. */
export interface LoadedCase extends Disposable {
  readonly inputs: AttentionInputs;
  /** Records one call. */
  compute(): ReturnType<typeof attention>;
}

/** One line that tells a case from its neighbours, for example `B1 T100 S100 H4/2 D64 f32 causal`. */
export function caseName(c: AttentionCase): string {
  const words = [
    `B${c.batch} T${c.qLen} S${c.kvLen} H${c.heads}`,
    c.kvHeads === c.heads ? "" : `/${c.kvHeads}`,
    ` D${c.headDim}`,
    c.valueDim === c.headDim ? "" : `/${c.valueDim}`,
    ` ${c.dtype}`,
    c.inputs === "normal" ? "" : ` ${c.inputs}`,
    c.scale === undefined ? "" : ` scale ${c.scale}`,
    c.causal ? ` causal${c.causal === true ? "" : " top-left"}` : "",
    c.window ? ` window ${c.window.left ?? "∞"},${c.window.right ?? "∞"}` : "",
    c.softcap ? ` softcap ${c.softcap}` : "",
    c.sinks ? " sinks" : "",
    c.bias ? " bias" : "",
    ...Object.entries(hookOptions(c)).map(([name, text]) => ` ${name} ${oneLine(text)}`),
    c.map ? ` map ${c.map.queryBlock}x${c.map.keyBlock}` : "",
    c.packed ? ` packed ${c.packed.length}` : "",
    c.pages ? ` 1/${c.pages.selected} of pages of ${c.pages.size}` : "",
  ];
  return words.join("");
}

/** Makes the inputs of a case. */
export function attentionInputs(c: AttentionCase): AttentionInputs {
  const random = new Random(c.seed);
  const host = (shape: readonly number[], next: () => number): HostTensor =>
    hostTensor(c.dtype, shape, next);
  const normal = (factor = 1) => (): number => factor * random.normal();
  const [allB, allH, allT] = c.bias ?? [false, false, false];
  const keys = keyShape(c);
  return {
    q: host([c.batch, c.qLen, c.heads, c.headDim], normal(spreadOf(c.inputs))),
    k: host([...keys, c.kvHeads, c.headDim], c.inputs === "equal" ? () => 0.5 : normal()),
    v: host([...keys, c.kvHeads, c.valueDim], normal()),
    ...(c.bias && {
      bias: host(
        [allB ? c.batch : 1, allH ? c.heads : 1, allT ? c.qLen : 1, c.kvLen],
        () => random.next() < 0.1 ? -Infinity : 2 * random.normal(),
      ),
    }),
    ...(c.sinks && { sinks: host([c.heads], normal()) }),
  };
}

/** Uploads a case. */
export function loadCase(gpu: Gpu, c: AttentionCase): LoadedCase {
  const inputs = attentionInputs(c);
  const tensors = new Map(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  const [q, k, v] = ["q", "k", "v"].map((name) => tensors.get(name) as Tensor<"f32" | "f16">);
  const [bias, sinks] = [tensors.get("bias"), tensors.get("sinks")];
  const keys = loadKeys(gpu, c);
  // a map brings its mask
  const { mask, ...unmasked } = hookOptions(c);
  const options: AttentionOptions = {
    ...plainOptions(c),
    ...unmasked,
    ...(mask !== undefined && c.map === undefined && { mask }),
    ...keys.options,
    ...(bias && { bias }),
    ...(sinks && { sinks }),
    lse: c.lse ?? true,
    ...(c.schedule && { schedule: c.schedule }),
  };
  return {
    inputs,
    compute: () => attention(q, k, v, options),
    [Symbol.dispose]: () =>
      [...tensors.values(), ...keys.owned].forEach((owned) => owned[Symbol.dispose]()),
  };
}

/** Options that operator and oracle take alike. */
function plainOptions(c: AttentionCase) {
  const { scale, causal, window, softcap } = c;
  return {
    ...(scale !== undefined && { scale }),
    ...(causal && { causal }),
    ...(window && { window }),
    ...(softcap && { softcap }),
  };
}

/** The float64 result of a case whose keys are in a row. */
export function referenceOf(c: AttentionCase, inputs: AttentionInputs): WeighedAttention {
  const { q, k, v, bias, sinks } = inputs;
  return reference(q, k, v, {
    ...plainOptions(c),
    ...(bias && { bias }),
    ...(sinks && { sinks }),
    ...{ weight: "softmax", ...oracleHooks(c) },
  });
}

/** Computes a case and compares out and lse with float64; the worse of the two decides. */
export async function checkCase(gpu: Gpu, c: AttentionCase): Promise<Comparison> {
  using loaded = loadCase(gpu, c);
  const { out, lse } = loaded.compute();
  const [outData, lseData] = [await out.read(), await lse?.read()];
  out.dispose();
  lse?.dispose();
  const expected = referenceOf(c, loaded.inputs);
  const outError = compareHeads(outData, expected.out.data, c.heads, c.valueDim);
  if (lseData === undefined || expected.lse === undefined) return outError;
  const lseError = compareHeads(lseData, expected.lse.data, c.heads, 1);
  return outError.ratio >= lseError.ratio ? outError : lseError;
}
