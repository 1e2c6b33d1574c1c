import { fittedLaw, type PowerLaw } from "../exponent.ts";
import type { Sweep } from "../sweep.ts";

/** How time grows along a sweep of a length. */
export interface Growth {
  /** What grows, as the command line spells it: `"t"`, or `"side^2"` for the tokens of a square. */
  readonly variable: string;
  /** Its value at each point. */
  readonly values: readonly number[];
  /** Milliseconds as a power of it. */
  readonly law: PowerLaw;
}

/** Keys of sweeps that set a length, and the power of them that counts tokens. */
const LENGTHS: Readonly<Record<string, number>> = {
  t: 1,
  "q-len": 1,
  "kv-len": 1,
  length: 1,
  side: 2,
};

/** The law that the times of a sweep follow; undefined where it has one point or sweeps no length. */
export function growthOf(
  { key, sizes }: Pick<Sweep<object>, "key" | "sizes">,
  times: readonly number[],
): Growth | undefined {
  if (!Object.hasOwn(LENGTHS, key)) return undefined;
  const power = LENGTHS[key];
  const values = sizes.map((size) => size ** power);
  const law = fittedLaw(values.map((value, i) => [value, times[i]]));
  return law && { variable: power === 1 ? key : `${key}^${power}`, values, law };
}
