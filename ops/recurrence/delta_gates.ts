import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkShape } from "../tensors.ts";
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

/** What gates g with parameters make of a call; `biases` is the shape that dtBias must have. */
export function gateForm(
  action: string,
  { aLog, dtBias, lowerBound }: GateParameters & { lowerBound?: number },
  biases: readonly number[],
): Pick<RecurrenceCase, "inputs" | "set"> {
  if (aLog === undefined) {
    const others = Object.entries({ dtBias, lowerBound }).filter(([, value]) =>
      value !== undefined
    );
    if (others.length === 0) return {};
    throw new TypeError(
      `Cannot ${action} as dtBias and lowerBound need aLog: given are ${
        others.map(([name]) => name).join(", ")
      }`,
    );
  }
  checkDType(action, "aLog", aLog, ["f32", "f16"]);
  checkShape(action, "aLog", aLog, biases.slice(0, 1));
  if (dtBias) {
    checkDType(action, "dtBias", dtBias, ["f32", "f16"]);
    checkShape(action, "dtBias", dtBias, biases);
  }
  if (lowerBound !== undefined) checkLowerBound(action, lowerBound);
  return {
    inputs: {
      aLog,
      ...(dtBias && { [biases.length === 1 ? "gateBias" : "gateBiasRows"]: dtBias }),
    },
    set: lowerBound === undefined ? { gateForm: "softplus" } : { gateForm: "bounded", lowerBound },
  };
}

function checkLowerBound(action: string, lowerBound: unknown): void {
  const finite = typeof lowerBound === "number" && Number.isFinite(Math.fround(lowerBound));
  if (finite && lowerBound < 0) return;
  throw new RangeError(
    `Cannot ${action} as lowerBound must be a finite number below 0: lowerBound is ${
      kindOf(lowerBound)
    }`,
  );
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
