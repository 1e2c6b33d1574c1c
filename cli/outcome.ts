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
