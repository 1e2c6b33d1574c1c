import type { AttentionCase } from "./attention_case.ts";
import { maskOf } from "./attention_hooks.ts";
import { keyCount } from "./attention_keys.ts";
import { keyRanges } from "./attention_problem.ts";

/** Pairs that a mask is asked about; beyond them, rows that are spread stand for all. */
const BUDGET = 2 ** 23;

/**
 * Query and key pairs that a case computes, over batch and heads; an estimate where a mask has more
 * than 2^23 pairs.
 */
export function visiblePairs(c: AttentionCase): number {
  const rangeOf = keyRanges(c);
  if (c.mask !== undefined) return maskedPairs(c, c.mask);
  let pairs = 0;
  for (let i = 0; i < c.qLen; i++) {
    const [first, end] = rangeOf(i);
    pairs += end - first;
  }
  return c.batch * c.heads * pairs;
}

function maskedPairs(c: AttentionCase, text: string): number {
  const rangeOf = keyRanges(c);
  const { mask, ...differ } = maskOf(text);
  const batches = differ.batches ? c.batch : 1;
  const heads = differ.heads ? c.heads : 1;
  const asked = batches * heads * c.qLen * keyCount(c);
  // masks repeat themselves after even numbers of rows
  const step = asked <= BUDGET ? 1 : 2 * Math.ceil(asked / BUDGET / 2) + 1;
  let pairs = 0;
  for (let i = 0; i < c.qLen; i += step) {
    const [first, end] = rangeOf(i);
    for (let b = 0; b < batches; b++) {
      for (let h = 0; h < heads; h++) {
        for (let j = first; j < end; j++) pairs += Number(mask({ b, h, i, j }));
      }
    }
  }
  const rows = Math.ceil(c.qLen / step);
  return pairs * (c.batch / batches) * (c.heads / heads) * (rows === 0 ? 0 : c.qLen / rows);
}

/** Operations by the definition: two multiply-adds per channel of each visible pair. */
export function attentionFlops(c: AttentionCase, pairs: number = visiblePairs(c)): number {
  return 2 * pairs * (c.headDim + c.valueDim);
}

/** Bytes that must move at least: inputs once, as far as a query may see them, output once. */
export function attentionBytes(c: AttentionCase): number {
  const element = c.dtype === "f16" ? 2 : 4;
  const queries = c.batch * c.qLen * c.heads * (c.headDim + c.valueDim);
  const keys = c.batch * keyCount(c) * c.kvHeads * (c.headDim + c.valueDim);
  return element * (queries + keys);
}
