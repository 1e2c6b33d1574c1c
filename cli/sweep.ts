import { UsageError } from "./command.ts";

/** Cases that differ in one size. */
export interface Sweep<C> {
  readonly key: string;
  readonly sizes: readonly number[];
  readonly cases: readonly C[];
}

/** What each key of a sweep sets. */
export type SweepKeys<C> = Readonly<Record<string, (size: number) => Partial<C>>>;

/** Reads `t=1k..64k` as sizes that double from the first to the last. */
export function parseSweep<C extends object>(
  text: string | undefined,
  base: C,
  keys: SweepKeys<C>,
): Sweep<C> | null {
  if (text === undefined) return null;
  const [, key, first, last] = /^([\w-]+)=(\d+k?)\.\.(\d+k?)$/i.exec(text) ?? [];
  const set = Object.hasOwn(keys, key ?? "") ? keys[key] : undefined;
  const [from, to] = [first, last].map((size) => size === undefined ? NaN : parseSize(size));
  if (set === undefined || !(from >= 1 && from <= to)) {
    throw new UsageError(
      `Cannot run the command: --sweep must be KEY=A..B with KEY among ${
        Object.keys(keys).join(", ")
      } and 1 <= A <= B, current value is "${text}"`,
    );
  }
  const sizes: number[] = [];
  for (let size = from; size <= to; size *= 2) sizes.push(size);
  return { key, sizes, cases: sizes.map((size) => ({ ...base, ...set(size) })) };
}

/** `"64k"` is 65536. */
function parseSize(text: string): number {
  return /k$/i.test(text) ? 1024 * parseInt(text) : parseInt(text);
}
