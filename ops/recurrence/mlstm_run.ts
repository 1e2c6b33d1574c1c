import type { Gpu } from "../../gpu/device.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { lent } from "../lent.ts";
import { oneOf } from "../options.ts";
import { launchScan } from "../scan/launch.ts";
import { planScan } from "../scan/plan.ts";
import type { ScanProblem } from "../scan/problem.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";
import type { RecurrenceState, SequenceOptions } from "./options.ts";
import { planRecurrence } from "./plan.ts";
import { inputRows, type RecurrenceProblem, recurrenceProblem } from "./problem.ts";
import { type RecurrenceCase, runRecurrence } from "./run.ts";
import { checkStateRecord } from "./state_record.ts";

/** The state of `mlstm`: with the gate `"exp"` exp(m) c and exp(m) n are the sums. */
export interface MlstmState {
  /** The memory C, f32 `[N, HV, K, V]` or `[N, HV, V, K]`. */
  c: Tensor<"f32">;
  /** The normaliser n, the sum of the keys, f32 `[N, HV, K]`. */
  n: Tensor<"f32">;
  /** The stabiliser m, f32 `[N, HV]`, 0 before the first token; with `"sigmoid"` 0 and not read. */
  m: Tensor<"f32">;
}

/** The mathematics of `mlstm`. */
export interface MlstmForm {
  /**
   * The input gate: exp(i), with the stabiliser, or sigmoid(i).
   *
   * @default {"exp"}
   */
  gate?: "exp" | "sigmoid";
  /**
   * Added to the divisor.
   *
   * @default {1e-6}
   */
  eps?: number;
}

/** Options of `mlstm`. */
export interface MlstmOptions extends SequenceOptions, MlstmForm {
  /** The state that the first token of each sequence finds; 0 by default, m too. */
  initialState?: MlstmState;
}

/** Options of `mlstmStep`. */
export interface MlstmStepOptions
  extends Pick<SequenceOptions, "scale" | "stateLayout" | "schedule">, MlstmForm {}

/** What `mlstm` returns. */
export interface MlstmResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: MlstmState;
}

/** What it does, for errors. */
export const MLSTM_ACTION = "compute an mLSTM";

/** The tensors of a call. */
interface MlstmTensors<T extends "f32" | "f16"> {
  readonly q: Tensor<T>;
  readonly k: Tensor<T>;
  readonly v: Tensor<T>;
  readonly i: Tensor;
  readonly f: Tensor;
}

/** Scans the gates, then runs the engine on what the scan makes of them. */
export function runMlstm<T extends "f32" | "f16">(
  { q, k, v, i, f }: MlstmTensors<T>,
  { initialState, gate = "exp", eps = 1e-6, ...others }: MlstmOptions,
  inPlace: boolean,
): MlstmResult<T> {
  const options = { ...others, eps, normalize: true };
  const form = { action: MLSTM_ACTION, featureMap: "identity" } as const;
  const { problem: given, gpu } = recurrenceProblem(q, k, v, options, form);
  oneOf(MLSTM_ACTION, "gate", gate, ["exp", "sigmoid"]);
  const { batch, length, heads, bounds } = given;
  checkTensors(MLSTM_ACTION, { q, i, f });
  for (const [name, tensor] of Object.entries({ i, f })) {
    checkShape(MLSTM_ACTION, name, tensor, [batch, length, heads]);
    checkDType(MLSTM_ACTION, name, tensor, ["f32", "f16"]);
  }
  if (initialState !== undefined) checkState(q, initialState, given, inPlace);
  const scan = scanOf(gate, { i, f }, { ...given, final: inPlace || given.final });
  const plan = planScan(scan, gpu);
  checkPlan(gpu, { ...given, initial: initialState !== undefined, final: scan.final });
  return record(gpu, "mlstm", (operation) => {
    using gates = lent(operation, gpu, [batch, length, heads], "f32");
    using weights = lent(operation, gpu, [batch, length, 2 * heads], "f32");
    const stabilisers = [bounds.length - 1, heads];
    const m = given.final ? gpu.empty(stabilisers, "f32") : initialState?.m;
    launchScan(operation, {
      ...{ problem: scan, plan, inputs: { i, f }, outputs: { gates, weights } },
      initial: {
        state: initialState?.m ?? operation.table(new Uint32Array((bounds.length - 1) * heads)),
      },
      final: scan.final && m ? { state: m } : null,
      device: gpu,
    });
    const { out, finalState } = runRecurrence(
      { ...CASE, inPlace, inputs: { keyWeights: weights } },
      [q, k, v],
      {
        ...{ ...options, g: gates },
        ...(initialState && { initialState: { s: initialState.c, z: initialState.n } }),
      },
    );
    if (finalState === undefined || m === undefined) return { out };
    const { s, z } = finalState as RecurrenceState;
    return { out, finalState: { c: s, n: z, m } };
  });
}

/** What the engine runs. */
const CASE: RecurrenceCase = { name: "mlstm", action: MLSTM_ACTION, set: { divisor: "magnitude" } };

/** Refuses what does not fit before a state in place has changed. */
function checkPlan(gpu: Gpu, given: RecurrenceProblem): void {
  const { batch, length, heads } = given;
  const shape = (rows: number) => ({ dtype: "f32" as const, shape: [batch, length, rows] });
  const scanned = inputRows({ g: shape(heads), keyWeights: shape(2 * heads) });
  planRecurrence({ ...given, gate: "token", inputs: { ...given.inputs, ...scanned } }, gpu);
}

/** The scan of the gates. */
function scanOf(
  gate: "exp" | "sigmoid",
  { i, f }: Readonly<Record<"i" | "f", Tensor>>,
  problem: RecurrenceProblem,
): ScanProblem {
  const { batch, length, heads, bounds, final, reverse, mode, chunkSize } = problem;
  return {
    ...{ kind: gate === "exp" ? "mlstmExp" : "mlstmSigmoid", batch, length, bounds },
    ...{ heads: 1, width: heads, elem: i.dtype as "f32", weightElem: f.dtype as "f32" },
    ...{ initial: true, final, reverse, mode, chunkSize, gateRows: 1 },
  };
}

/** Checks a state against a problem. */
function checkState(
  q: Tensor,
  initialState: unknown,
  { bounds, heads, keyDim, valueDim, valueFirst }: RecurrenceProblem,
  inPlace: boolean,
): void {
  const rows = [bounds.length - 1, heads];
  const axes = valueFirst ? [valueDim, keyDim] : [keyDim, valueDim];
  const shapes = { c: [...rows, ...axes], n: [...rows, keyDim], m: rows };
  const name = inPlace ? "state" : "initialState";
  checkStateRecord(MLSTM_ACTION, { q, initialState }, { name, shapes, copied: ["c", "n"] });
}
