import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkRank, checkShape } from "../tensors.ts";
import { ACTION, fail } from "./refusal.ts";
import { type AttentionSizes, isFiniteF32 } from "./sizes.ts";

/** A tensor that joins the scores. */
export interface ScoreInput {
  readonly elem: "f32" | "f16";
  /** Elements between neighbours on each axis, 0 where it broadcasts. */
  readonly strides: readonly number[];
}

/** Checks the cap of scores, by which their scale is divided. */
export function checkSoftcap(softcap: unknown, scale: number): number | null {
  if (softcap === undefined) return null;
  if (typeof softcap !== "number" || !isFiniteF32(softcap) || !(Math.fround(softcap) > 0)) {
    throw new RangeError(
      `Cannot ${ACTION} as softcap must be a finite f32 > 0: softcap is ${kindOf(softcap)}`,
    );
  }
  if (!isFiniteF32(scale / softcap)) {
    throw new RangeError(
      `Cannot ${ACTION} as scale / softcap must be a finite f32: scale is ${scale}, softcap is ${softcap}`,
    );
  }
  return softcap;
}

/** Checks the bias of scores. */
export function checkBias(bias: Tensor, { batch, heads, qLen, kvLen }: AttentionSizes): ScoreInput {
  const elem = checkDType(ACTION, "bias", bias, ["f32", "f16"]);
  checkRank(ACTION, "bias", bias, ["B|1", "Hq|1", "T|1", "S"]);
  const full = [batch, heads, qLen, kvLen];
  const fits = bias.shape.every((size, axis) => size === full[axis] || (size === 1 && axis < 3));
  if (!fits) {
    fail(`bias must broadcast to [B, Hq, T, S] = [${full}]: bias is [${bias.shape}]`);
  }
  const [, h, t, s] = bias.shape;
  const dense = [h * t * s, t * s, s, 1];
  return { elem, strides: dense.map((stride, axis) => bias.shape[axis] === 1 ? 0 : stride) };
}

/** Checks the logit of each head. */
export function checkSinks(sinks: Tensor, heads: number): ScoreInput {
  const elem = checkDType(ACTION, "sinks", sinks, ["f32", "f16"]);
  if (sinks.shape.length !== 1 || sinks.shape[0] !== heads) {
    fail(`sinks must be [Hq] = [${heads}]: sinks is [${sinks.shape}]`);
  }
  return { elem, strides: [1] };
}

/** Checks the gain of each query and head. */
export function checkGates(gates: Tensor, { batch, qLen, heads }: AttentionSizes): ScoreInput {
  const elem = checkDType(ACTION, "gates", gates, ["f32", "f16"]);
  checkShape(ACTION, "gates", gates, [batch, qLen, heads]);
  return { elem, strides: [qLen * heads, heads, 1] };
}
