import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { areCopyable } from "../attention/sizes.ts";
import { lent } from "../lent.ts";
import { launchScan } from "../scan/launch.ts";
import { planScan } from "../scan/plan.ts";
import type { ScanProblem } from "../scan/problem.ts";
import type { SequenceOptions } from "./options.ts";
import { planRecurrence } from "./plan.ts";
import { type RecurrenceProblem, recurrenceProblem } from "./problem.ts";
import { runRecurrence } from "./run.ts";
import type { StepOptions } from "./state.ts";
import { checkStateRecord } from "./state_record.ts";

/** The state of {@linkcode lightNet}. */
export interface LightNetState {
  /** S, f32 `[N, HV, K, V]` or `[N, HV, V, K]`. */
  s: Tensor<"f32">;
  /** log Σ exp(k), f32 `[N, HK, K]`; −∞ before the first token. */
  z: Tensor<"f32">;
}

/** Options of {@linkcode lightNet}. */
export interface LightNetOptions extends SequenceOptions {
  /** The state that the first token of each sequence finds; that of no token by default. */
  initialState?: LightNetState;
}

/** What {@linkcode lightNet} returns. */
export interface LightNetResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: LightNetState;
}

const ACTION = "compute LightNet";
const STEP_OPTIONS: readonly (keyof StepOptions)[] = ["scale", "stateLayout", "schedule"];
const OPTIONS: readonly (keyof LightNetOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"] as const,
];

/**
 * LightNet (Qin et al., "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with
 * LightNet", 2024): o_t = scale · q_t Σ_{s≤t} (exp(k_s) / Σ_{r≤t} exp(k_r))ᵀ v_s, a softmax along time
 * for each key channel.
 *
 * With z_t = log Σ_{s≤t} exp(k_s) it is a recurrence with the gates z_{t−1} − z_t and the keys
 * exp(k_t − z_t). A scan along time writes both to scratch tensors, f32 `[B, T, HV, K]` and
 * `[B, T, HK, K]` in the dtype of k, that live until the call has run; the engine of `recurrence` reads
 * them. Channels whose keys have all been −∞ hold 0. q is taken as it is: the paper's SiLU is the
 * caller's. Heads are grouped as in `recurrence`.
 *
 * Keys of any size stay exact, but a z that is carried from call to call is one f32: of 1e4 it has three
 * decimals. In f16, weights below 6e-5 lose digits.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`, before the softmax
 * @param v `[B, T, HV, V]`
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { lightNet, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 2, 1, 1]);
 * const { out } = lightNet(x(1, 1), x(0, Math.log(3)), x(4, 8));
 * const o = await out.read();
 * [4, 7].forEach((expected, t) => assertAlmostEquals(o[t], expected, 1e-5));
 * ```
 */
export function lightNet<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LightNetOptions = {},
): LightNetResult<T> {
  checkOptionNames(ACTION, options, OPTIONS);
  return recall(run<T>, [q, k, v], options, false);
}

/**
 * The next token of `lightNet`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state f32, s `[B, HV, K, V]` and z `[B, HK, K]`: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function lightNetStep<T extends "f32" | "f16">(
  state: LightNetState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: StepOptions = {},
): Tensor<T> {
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  // without a state there would be none to go on from, and none to leave
  if (state === undefined) {
    throw new TypeError(`Cannot ${ACTION} as a step needs a state: state is undefined`);
  }
  const stepped = { ...options, initialState: state, mode: "loop" as const };
  return recall(run<T>, [q, k, v], stepped, true).out;
}

/** Scans the keys, then runs the engine on what the scan makes of them. */
function run<T extends "f32" | "f16">(
  [q, k, v]: readonly [Tensor<T>, Tensor<T>, Tensor<T>],
  { initialState, ...options }: LightNetOptions,
  inPlace: boolean,
): LightNetResult<T> {
  const form = { action: ACTION, featureMap: "identity" } as const;
  const { problem: given, gpu } = recurrenceProblem(q, k, v, options, form);
  const state = initialState === undefined ? undefined : stateOf(q, initialState, given, inPlace);
  const problem: RecurrenceProblem = {
    ...{ ...given, gate: "channel", copyable: areCopyable([q, v]) },
    inputs: { ...given.inputs, gk: { elem: "f32", heads: given.heads } },
    ...{ initial: state !== undefined, final: inPlace || given.final },
  };
  // what does not fit is refused here, before a state in place has changed
  planRecurrence(problem, gpu);
  const scan = scanOf(problem);
  const plan = planScan(scan, gpu);
  const { batch, length, heads, keyDim, bounds } = problem;
  return record(gpu, "lightNet", (operation) => {
    using keys = lent(operation, gpu, k.shape, k.dtype);
    using gates = lent(operation, gpu, [batch, length, heads, keyDim], "f32");
    const z = given.final ? gpu.empty([bounds.length - 1, ...k.shape.slice(2)], "f32") : undefined;
    const final = inPlace ? state?.z : z;
    launchScan(operation, {
      ...{ problem: scan, plan, inputs: { x: k }, outputs: { keys, gates } },
      initial: state ? { state: state.z } : null,
      final: final ? { state: final } : null,
      device: gpu,
    });
    const { out, finalState } = runRecurrence(
      { name: "lightNet", action: ACTION, inPlace },
      [q, keys, v],
      { ...options, g: gates, ...(state && { initialState: state.s }) },
    );
    return { out, ...(z && { finalState: { s: finalState as Tensor<"f32">, z } }) };
  });
}

/** The scan of the keys. */
function scanOf(problem: RecurrenceProblem): ScanProblem {
  const { batch, length, kHeads, heads, keyDim, elem, bounds } = problem;
  const { initial, final, reverse, mode, chunkSize } = problem;
  return {
    ...{ kind: "logCumsumExp", batch, length, heads: kHeads, width: keyDim, elem, bounds },
    ...{ weightElem: elem, initial, final, reverse, mode, chunkSize },
    gateRows: heads / kHeads,
  };
}

/** Checks a state against a problem. */
function stateOf(
  q: Tensor,
  initialState: LightNetState,
  { bounds, kHeads, heads, keyDim, valueDim, valueFirst }: RecurrenceProblem,
  inPlace: boolean,
): LightNetState {
  const axes = valueFirst ? [valueDim, keyDim] : [keyDim, valueDim];
  const sequences = bounds.length - 1;
  const shapes = { s: [sequences, heads, ...axes], z: [sequences, kHeads, keyDim] };
  const name = inPlace ? "state" : "initialState";
  checkStateRecord(ACTION, { q, initialState }, { name, shapes, copied: ["s"] });
  return initialState;
}
