// What takes part: libraries, and the ways each has to compute a problem.
import type { Inputs, Problem } from "./problems.ts";

/** A problem where a library keeps it, ready to be computed many times. */
export interface Contestant {
  /** Records one call and returns what frees its output; or computes it, where nothing is recorded. */
  call(): Promise<() => void>;
  /** Waits for all that was recorded. */
  done(): Promise<void>;
  /** Computes `out` `[B, T, H, D]`. */
  out(): Promise<ArrayLike<number>>;
  /** Frees the inputs. */
  close(): Promise<void>;
}

/** A way to compute a problem: uploads the inputs and compiles what there is to compile. */
export type Way = (inputs: Inputs) => Promise<Contestant>;

/** A library, opened on the adapter or the processor that it is compared on. */
export interface Library {
  readonly version: string;
  /**
   * Its ways to compute a problem, none where it has no operator for it, by what is added to the
   * library's name: "" for the plain one.
   */
  ways(problem: Problem): Readonly<Record<string, Way>>;
}
