import { assert, assertEquals } from "@std/assert";
import { attention, type BlockMap } from "../../mod.ts";
import { assertClose } from "../assert_close.ts";
import { type DenseProblem, matrixOf, outputOf, type Pair, scoresOf, softmaxOf } from "./dense.ts";
import { RATIO, upload } from "./on_device.ts";

/** How far apart numbers must be for a choice in f32 to be that in float64. */
const GAP = 1e-4;

/** 0, 1, … length − 1. */
export const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

/** The sum of numbers. */
export const sum = (numbers: number[]): number => numbers.reduce((total, x) => total + x, 0);

/** The places of the k largest numbers but −∞, which no rounding could change. */
export function largest(numbers: number[], k: number): number[] {
  const places = range(numbers.length).filter((n) => numbers[n] > -Infinity)
    .sort((one, other) => numbers[other] - numbers[one]);
  if (k < places.length) assert(numbers[places[k - 1]] - numbers[places[k]] > GAP);
  return places.slice(0, k);
}

/** The places of the fewest of the largest numbers that have a share of their sum, with some room. */
export function covering(numbers: number[], share: number): number[] {
  const places = largest(numbers, numbers.length);
  const total = sum(numbers);
  let held = 0;
  for (let count = 0; count < places.length; count++) {
    assert(Math.abs(held - share * total) > 1e-5 * total);
    if (held > share * total) return places.slice(0, count);
    held += numbers[places[count]];
  }
  return places;
}

/** Attention over the blocks of a map is dense attention under a mask, and the map has no other blocks. */
export async function assertMap(
  problem: DenseProblem,
  map: BlockMap,
  { seen, causal }: { seen: (block: Pair) => boolean; causal: boolean },
): Promise<void> {
  const { B, T, S } = problem;
  const { queryBlock, keyBlock, heads } = map;
  const [q, k, v] = upload(problem);
  const { out } = attention(q, k, v, { blockMap: map });
  const isSeen = ({ b, h, i, j }: Pair) =>
    (!causal || j <= i) &&
    seen({ b, h, i: Math.floor(i / queryBlock), j: Math.floor(j / keyBlock) });
  const weights = softmaxOf(scoresOf(problem, isSeen), S);
  assertClose("out", await out.read(), outputOf(problem, weights), RATIO);
  const [rows, columns] = [Math.ceil(T / queryBlock), Math.ceil(S / keyBlock)];
  const blocks = matrixOf(
    { ...problem, B, Hq: heads, T: rows, S: columns },
    (block) => Number(seen(block)),
  );
  assertEquals((await map.matrix()).map((state) => Number(state > 0)), Uint8Array.from(blocks));
}

/** A function of the tokens of each block, channel by channel: `[B, ⌈T / block⌉, heads, D]`. */
export function pooled(
  x: ArrayLike<number>,
  { B, T, heads, D, block }: Record<"B" | "T" | "heads" | "D" | "block", number>,
  pool: (values: number[]) => number,
): (b: number, n: number, h: number, c: number) => number {
  const blocks = Math.ceil(T / block);
  const out = range(B * blocks * heads * D).map((at) => {
    const [c, h] = [at % D, Math.floor(at / D) % heads];
    const [n, b] = [Math.floor(at / D / heads) % blocks, Math.floor(at / D / heads / blocks)];
    const tokens = range(T).slice(n * block, (n + 1) * block);
    return pool(tokens.map((t) => x[((b * T + t) * heads + h) * D + c]));
  });
  return (b, n, h, c) => out[((b * blocks + n) * heads + h) * D + c];
}

/** Their mean. */
export const mean = (values: number[]): number => sum(values) / values.length;

/** The value of `make` for each pair of numbers, made once. */
export function once<T>(
  make: (b: number, h: number, i: number) => T,
): (b: number, h: number, i: number) => T {
  const made = new Map<string, T>();
  return (b, h, i) => {
    const key = `${b} ${h} ${i}`;
    if (!made.has(key)) made.set(key, make(b, h, i));
    return made.get(key) as T;
  };
}
