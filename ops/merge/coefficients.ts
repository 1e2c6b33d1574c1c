import { kindOf, volume } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { CoefficientSource } from "../../kernels/attention/merge_pair.ts";
import { checkDType, checkShape } from "../tensors.ts";

/** What multiplies a part. */
export interface Coefficient {
  readonly source: CoefficientSource;
  /** The number; 1 where it is none. */
  readonly value: number;
  /** `[…, H]` or `[H]`, f32. */
  readonly tensor: Tensor | null;
}

/** What multiplies a part that has no coefficient. */
export const NO_COEFFICIENT: Coefficient = { source: "none", value: 1, tensor: null };

/** What coefficients must fit. */
interface CoefficientChecks {
  /** How many parts there are. */
  readonly count: number;
  /** Whether they must not be negative. */
  readonly renormalize: boolean;
}

/** Checks that there is a finite number or something else, a tensor, for each part. */
export function checkCoefficients(
  action: string,
  coefficients: unknown,
  { count, renormalize }: CoefficientChecks,
): asserts coefficients is readonly (number | Tensor)[] {
  if (!Array.isArray(coefficients) || coefficients.length !== count) {
    const found = Array.isArray(coefficients) ? coefficients.length : kindOf(coefficients);
    throw new TypeError(
      `Cannot ${action} as coefficients must be an array of one per part: there are ${count} parts, coefficients is ${found}`,
    );
  }
  coefficients.forEach((coefficient: unknown, i) => {
    if (coefficient instanceof Tensor) return;
    if (typeof coefficient !== "number") {
      throw new TypeError(
        `Cannot ${action} as coefficients[${i}] must be a number or a Tensor: it is ${
          kindOf(coefficient)
        }`,
      );
    }
    const least = renormalize ? 0 : -Infinity;
    if (Number.isFinite(Math.fround(coefficient)) && coefficient >= least) return;
    throw new RangeError(
      `Cannot ${action} as coefficients[${i}] must be a finite f32${
        renormalize ? " >= 0" : ""
      }: it is ${coefficient}`,
    );
  });
}

/** Where the coefficient of a part comes from; a tensor must be `[…, H]` or `[H]`. */
export function coefficientOf(
  action: string,
  [name, coefficient]: readonly [name: string, coefficient: number | Tensor],
  rowShape: readonly number[],
): Coefficient {
  if (typeof coefficient === "number") {
    return { source: "number", value: coefficient, tensor: null };
  }
  checkDType(action, name, coefficient, ["f32"]);
  checkShape(action, name, coefficient, rowShape, rowShape.slice(-1));
  const source = coefficient.size === volume(rowShape) ? "rows" : "heads";
  return { source, value: 1, tensor: coefficient };
}
