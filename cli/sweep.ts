import type { AttentionCase } from "./attention_case.ts";
import { UsageError } from "./command.ts";

/** Cases that differ in one size. */
export interface Sweep {
  readonly key: string;
  readonly cases: readonly AttentionCase[];
}

/** What a key of a sweep sets. */
const KEYS: Readonly<Record<string, (size: number) => Partial<AttentionCase>>> = {
  t: (size) => ({ qLen: size, kvLen: size }),
  "q-len": (size) => ({ qLen: size }),
  "kv-len": (size) => ({ kvLen: size }),
  batch: (size) => ({ batch: size }),
  heads: (size) => ({ heads: size, kvHeads: size }),
  "head-dim": (size) => ({ headDim: size, valueDim: size }),
};

/** Reads `t=1k..64k` as sizes that double from the first to the last. */
export function parseSweep(text: string | undefined, base: AttentionCase): Sweep | null {
  if (text === undefined) return null;
  const [, key, first, last] = /^([\w-]+)=(\d+k?)\.\.(\d+k?)$/i.exec(text) ?? [];
  const set = Object.hasOwn(KEYS, key ?? "") ? KEYS[key] : undefined;
  const [from, to] = [first, last].map((size) => size === undefined ? NaN : parseSize(size));
  if (set === undefined || !(from >= 1 && from <= to)) {
    throw new UsageError(
      `Cannot run the command: --sweep must be KEY=A..B with KEY among ${
        Object.keys(KEYS).join(", ")
      } and 1 <= A <= B, current value is "${text}"`,
    );
  }
  const sizes: number[] = [];
  for (let size = from; size <= to; size *= 2) sizes.push(size);
  return { key, cases: sizes.map((size) => ({ ...base, ...set(size) })) };
}

/** `"64k"` is 65536. */
function parseSize(text: string): number {
  return /k$/i.test(text) ? 1024 * parseInt(text) : parseInt(text);
}
