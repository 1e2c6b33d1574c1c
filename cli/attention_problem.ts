import { checkHooks } from "../ops/attention/hooks.ts";
import { type AttentionProblem, attentionProblemOf } from "../ops/attention/problem.ts";
import type { AttentionCase } from "./attention_case.ts";
import { hookOptions } from "./attention_hooks.ts";
import { keyCount, keyLayoutOf } from "./attention_keys.ts";

/** From the first key to one past the last. */
export type KeyRange = readonly [number, number];

/** The problem of a case, without tensors. */
export function problemOf(c: AttentionCase): AttentionProblem {
  const keys = keyLayoutOf(c);
  const { hooks, weight } = checkHooks("compute attention", hookOptions(c));
  const plain = attentionProblemOf({ ...c, kvLen: keyCount(c) });
  if (keys.kind === "row") return { ...plain, hooks, weight };
  // elsewhere than in a row, bands count within sequences
  const { band } = attentionProblemOf({ ...c, qLen: 0, kvLen: 0 });
  return { ...plain, hooks, weight, keys, band };
}

/** The keys that band and sequences leave to each query; masks may hide more. */
export function keyRanges(c: AttentionCase): (query: number) => KeyRange {
  const { keys, band, qLen, kvLen } = problemOf(c);
  const { lo, hi } = band ?? { lo: -Infinity, hi: Infinity };
  const banded = (at: number, [first, end]: KeyRange): KeyRange => {
    const start = Math.max(first, at + lo);
    return [start, Math.max(start, Math.min(end, at + hi + 1))];
  };
  if (keys.kind === "packed") {
    const bounds = keys.q;
    const sequences = Int32Array.from({ length: qLen });
    bounds.slice(1).forEach((end, n) => sequences.fill(n, bounds[n], end));
    return (i) => banded(i, [bounds[sequences[i]], bounds[sequences[i] + 1]]);
  }
  // the last query of a cache meets its last key
  const shift = keys.kind === "cache" ? kvLen - qLen : 0;
  return (i) => banded(i + shift, [0, kvLen]);
}
