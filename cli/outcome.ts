import type { Gpu } from "../gpu/device.ts";

/** The outcome of one thing that `check` verifies. */
export interface Outcome {
  readonly name: string;
  /** RMS error ratio, or how many elements break what holds exactly. */
  readonly ratio: number;
  /** The largest ratio that passes, 0 for what holds exactly. */
  readonly tolerance: number;
  readonly ok: boolean;
  readonly error?: string;
}

/** One thing that `check` verifies. */
export interface CheckItem {
  readonly name: string;
  run(gpu: Gpu): Promise<Outcome>;
}

/** Items that one line of `check` reports together. */
export interface CheckGroup {
  readonly operator: string;
  readonly group: string;
  readonly items: readonly CheckItem[];
}

/** What `check` is asked for, beside names. */
export interface CheckSelection {
  readonly quick: boolean;
  readonly dtype: "f32" | "f16" | undefined;
  /** How many random problems, and the seed of the first. */
  readonly cases: number;
  readonly seed: number;
}

/** How cases of one kind are checked. */
export interface CaseCheck<C> {
  /** One line that tells a case from its neighbours. */
  nameOf(c: C): string;
  /** The largest error ratio that passes. */
  readonly tolerance: Readonly<Record<"f32" | "f16", number>>;
  /** Computes a case and returns the error ratio of its worst output. */
  errorOf(gpu: Gpu, c: C): Promise<number>;
}

/** An item for each case, in one dtype or in both. */
export function caseItems<C extends { readonly dtype: "f32" | "f16" }>(
  cases: readonly C[],
  { dtype }: Pick<CheckSelection, "dtype">,
  { nameOf, tolerance, errorOf }: CaseCheck<C>,
): CheckItem[] {
  return cases
    .filter((c) => dtype === undefined || c.dtype === dtype)
    .map((c) => checkItem(nameOf(c), tolerance[c.dtype], (gpu) => errorOf(gpu, c)));
}

/** An item that passes while its error ratio keeps to the tolerance. */
export function checkItem(
  name: string,
  tolerance: number,
  ratioOf: (gpu: Gpu) => Promise<number>,
): CheckItem {
  return {
    name,
    run: async (gpu) => {
      const ratio = await ratioOf(gpu);
      return { name, ratio, tolerance, ok: ratio <= tolerance };
    },
  };
}
