import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { ACTION, fail } from "./refusal.ts";

/** A window around the diagonal. */
export interface AttentionWindow {
  /** Keys seen before the diagonal. */
  left?: number;
  /** Keys seen behind the diagonal. */
  right?: number;
}

/** Keys that query i sees: i + lo ≤ j ≤ i + hi. */
export interface Band {
  readonly lo: number;
  readonly hi: number;
}

/** Far beyond any length, and safe to add to one in 32 bits. */
export const UNBOUNDED: number = 2 ** 30;

/** The options that a band is made of. */
interface BandOptions {
  readonly causal?: boolean | "top-left";
  readonly window?: AttentionWindow;
}

/** Folds causality and window into one band, or null where every query sees every key. */
export function checkBand(
  options: BandOptions,
  qLen: number,
  kvLen: number,
): Band | null {
  const { causal = false, window = {} } = options;
  if (typeof causal !== "boolean" && causal !== "top-left") {
    fail(`causal must be true, false or "top-left": causal is ${kindOf(causal)}`);
  }
  checkOptionNames(`${ACTION} with a window`, window, ["left", "right"]);
  const { left, right } = window;
  for (const [side, keys] of Object.entries({ left, right })) {
    if (keys !== undefined && (!Number.isSafeInteger(keys) || keys < 0)) {
      throw new RangeError(
        `Cannot ${ACTION} as window.${side} must be an integer >= 0: window.${side} is ${
          kindOf(keys)
        }`,
      );
    }
  }
  if (!causal && left === undefined && right === undefined) return null;
  const diagonal = causal === "top-left" ? 0 : kvLen - qLen;
  const hi = Math.min(causal ? 0 : UNBOUNDED, right ?? UNBOUNDED);
  return { lo: diagonal - Math.min(left ?? UNBOUNDED, UNBOUNDED), hi: diagonal + hi };
}
