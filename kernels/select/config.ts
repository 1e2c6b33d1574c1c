import type { Elem } from "../shared/rows.ts";

/** What selecting from rows must know when it is compiled. */
export interface SelectConfig {
  readonly elem: Elem;
  /** Whether a share of a row's sum is selected; else what reaches a key. */
  readonly share: boolean;
  /** Whether indices are sorted in the memory of the workgroup; else pairs are left for a sort. */
  readonly sorted: boolean;
  /** Invocations that share a row: 64 or 256. */
  readonly threads: number;
  /** Pairs that a workgroup holds: as many as it sorts, and for a share four for each invocation. */
  readonly tile: number;
}
