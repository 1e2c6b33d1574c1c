import { writer } from "../shared/rows.ts";
import type { ElementPart, ScanInputs } from "./element.ts";

/**
 * The mLSTM as a recurrence: the gate log sigmoid(f_t) + m_{t-1} - m_t, the weight exp(i_t - m_t) of the
 * key, and behind it exp(-m_t), the least divisor.
 *
 * Any m would do, so long as the same one is in what a token leaves and in what the next one finds:
 * rounding it costs nothing. Gates then are near 0, and what exp2 makes of them is kept account of.
 */
export function gatesAndWeights(head: string, { width }: Pick<ScanInputs, "width">): ElementPart {
  const code = /* wgsl */ `
const LOG2E = 1.4426950408889634;
const MOST = 88.0; // its exponential is among the largest of f32

/// What the decays so far fall short of: of an exp2 that is 4e-8 off, 1e4 tokens make 4e-4.
var<private> lost: vec4f;

${head} {
  let there = sum.m > vec4f(FLOOR);
  let kept = own.decay + (before.m - sum.m);
  let slow = abs(kept) < vec4f(0.02);
  let fitted = kept + lost;
  lost = select(lost, fitted - log_1p(exp2(LOG2E * fitted) - 1.0), slow);
  store_gates(row, c, select(vec4f(FLOOR), select(kept, fitted, slow), there));
  let weight = select(vec4f(), exp(own.m - sum.m), there);
  let least = exp(min(-sum.m, vec4f(MOST)));
  store_weights(row, 2u * c, vec4f(weight.x, least.x, weight.y, least.y));
  if 2u * c + 1u < ${Math.ceil(width / 2)}u {
    store_weights(row, 2u * c + 1u, vec4f(weight.z, least.z, weight.w, least.w));
  }
}`;
  return {
    accessors: [
      writer({ name: "gates", elem: "f32", width }),
      writer({ name: "weights", elem: "f32", width: 2 * width }),
    ],
    code,
  };
}
