import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";
import { checkFlags } from "../options.ts";
import type { RecurrenceCase } from "./run.ts";

/** How the gates of a delta rule are given: their logarithms, or what those are made of. */
export interface GateParameters {
  /** Turns g into −e^aLog · softplus(g + dtBias), f32 or f16 `[HV]`. */
  aLog?: Tensor;
  /** Added to g, f32 or f16, `[HV]` where gates are of heads and `[HV, K]` where they are of channels. */
  dtBias?: Tensor;
}

/** What is changed before the delta rule sees it. */
export interface DeltaForm {
  /**
   * Whether queries and keys are divided by their L2 norms, x / √(Σ x² + 1e-6).
   *
   * @default {false}
   */
  qkL2norm?: boolean;
}

type Part = Pick<RecurrenceCase, "inputs" | "set">;

/** The gates g with their parameters, one for each token and head, or key channel. */
export function gateForm(
  action: string,
  [v, k, g]: readonly [v: Tensor, k: Tensor, g: Tensor],
  { aLog, dtBias, lowerBound }: GateParameters & { lowerBound?: number },
  axes: 3 | 4,
): Part {
  const given = Object.entries({ aLog, dtBias }).filter(([, tensor]) => tensor !== undefined);
  checkTensors(action, { v, k, g, ...Object.fromEntries(given) });
  checkRank(action, "g", g, ["B", "T", "HV", "K"].slice(0, axes));
  if (aLog === undefined) {
    const names = [
      ...given.map(([name]) => name),
      ...(lowerBound === undefined ? [] : ["lowerBound"]),
    ];
    if (names.length === 0) return {};
    throw new TypeError(
      `Cannot ${action} as dtBias and lowerBound need aLog: given are ${names.join(", ")}`,
    );
  }
  const [heads, dim] = [v.shape[2], k.shape[3]];
  for (const [name, tensor] of given) checkDType(action, name, tensor as Tensor, ["f32", "f16"]);
  checkShape(action, "aLog", aLog, [heads]);
  if (dtBias) checkShape(action, "dtBias", dtBias, axes === 3 ? [heads] : [heads, dim]);
  if (lowerBound !== undefined && !(Number.isFinite(Math.fround(lowerBound)) && lowerBound < 0)) {
    throw new RangeError(
      `Cannot ${action} as lowerBound must be a finite number below 0: lowerBound is ${
        kindOf(lowerBound)
      }`,
    );
  }
  return {
    inputs: { aLog, ...(dtBias && { [axes === 3 ? "gateBias" : "gateBiasRows"]: dtBias }) },
    set: lowerBound === undefined ? { gateForm: "softplus" } : { gateForm: "bounded", lowerBound },
  };
}

/** How beta is given. */
export interface BetaParameters {
  /**
   * Whether beta is sigmoid(beta).
   *
   * @default {false}
   */
  betaSigmoid?: boolean;
  /**
   * Whether beta is 2 · sigmoid(beta), which lets a state turn its sign; needs `betaSigmoid`.
   *
   * @default {false}
   */
  allowNegativeEigenvalues?: boolean;
}

/** What beta and the norms of queries and keys make of the problem. */
export function deltaForm(
  action: string,
  { qkL2norm = false, betaSigmoid = false, allowNegativeEigenvalues = false }:
    & DeltaForm
    & BetaParameters,
): NonNullable<RecurrenceCase["set"]> {
  checkFlags(action, { qkL2norm, betaSigmoid, allowNegativeEigenvalues });
  if (allowNegativeEigenvalues && !betaSigmoid) {
    throw new TypeError(
      `Cannot ${action} as allowNegativeEigenvalues needs betaSigmoid: betaSigmoid is false`,
    );
  }
  const sigmoid = allowNegativeEigenvalues ? "twice" : "sigmoid";
  return { l2norm: qkL2norm, betaForm: betaSigmoid ? sigmoid : "plain" };
}
