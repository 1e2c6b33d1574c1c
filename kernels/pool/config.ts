import type { Elem, InputSource } from "../shared/rows.ts";

/** What becomes of a block of tokens. */
export type PoolKind = "mean" | "max" | "min" | "first" | "last" | "attention";

/** Whether all tokens of a block count, rather than its first or last one. */
export function readsAll(kind: PoolKind): boolean {
  return kind !== "first" && kind !== "last";
}

/** What pooling must know when it is compiled. */
export interface PoolConfig {
  readonly kind: PoolKind;
  /** Storage of x and out. */
  readonly elem: Elem;
  /** Storage of the logits of `"attention"`. */
  readonly weightElem: Elem | null;
  /** D. */
  readonly dim: number;
  /** Invocations that share the tokens of a block: 1 or 8. */
  readonly slices: number;
  /** Where x is read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup. */
export const POOL_THREADS = 128;
