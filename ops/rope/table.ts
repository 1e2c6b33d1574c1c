import type { RopeProblem } from "./problem.ts";

/** Channels that rotate together, and how fast. */
interface Pair {
  readonly low: number;
  readonly high: number;
  readonly axis: number;
  /** Radians a position. */
  readonly frequency: number;
}

/** Pairs of channels, section by section. */
export function pairsOf(
  { sections, interleaved, base }: Pick<RopeProblem, "sections" | "interleaved" | "base">,
): Pair[] {
  const pairs: Pair[] = [];
  let first = 0;
  for (const [axis, size] of sections.entries()) {
    for (let i = 0; i < size / 2; i++) {
      const low = first + (interleaved ? 2 * i : i);
      const high = low + (interleaved ? 1 : size / 2);
      pairs.push({ low, high, axis, frequency: base ** (-2 * i / size) });
    }
    first += size;
  }
  return pairs;
}

/** A row of the table of turns, but for its frequency. */
interface Row extends Pair {
  /** Which pair it is. */
  readonly pair: number;
  readonly negative: boolean;
}

/** The rows that a pairing reads: one for each pair, or one for each channel. */
function rowsOf(problem: Omit<Turning, "scaling">): Row[] {
  const pairs = pairsOf(problem).map((pair, n) => ({ ...pair, pair: n, negative: false }));
  if (problem.pairing === "columns") return pairs;
  return pairs.flatMap((pair) => [
    { ...pair, negative: true },
    { ...pair, low: pair.high, high: pair.low },
  ]).toSorted((a, b) => a.low - b.low);
}

/** Axis, channel and the channel that it rotates with, in a word. */
function infoOf({ axis, low, high }: Row): number {
  return (axis | low << 2 | high << 17) >>> 0;
}

/** What the table of turns follows from. */
export type Turning = Pick<
  RopeProblem,
  "sections" | "interleaved" | "base" | "pairing" | "scaling"
>;

/** The table of turns: for each row 32 bits before the point, 64 behind it, and its channels. */
export function turnsTable(problem: Turning): Uint32Array<ArrayBuffer> {
  const words = rowsOf(problem).flatMap((row) => {
    const turns = fixed(row.frequency / (2 * Math.PI * problem.scaling), 64);
    const signed = row.negative ? -turns : turns;
    return [...wordsOf(signed, 3), infoOf(row)];
  });
  return Uint32Array.from(words);
}

/** What that table is made of on the device: which frequency a row has, and its channels. */
export function wantedTable(problem: RopeProblem): Uint32Array<ArrayBuffer> {
  const rows = rowsOf(problem);
  return Uint32Array.from(
    rows.flatMap((row) => [row.pair, Number(row.negative), 0, infoOf(row)]),
  );
}

/** 1 / (2 pi scaling) with 96 bits behind the point, as parameters. */
export function turnFactor({ scaling }: Pick<RopeProblem, "scaling">): Record<string, number> {
  const names = ["factorWhole", "factorHigh", "factorMiddle", "factorLow"];
  const words = wordsOf(fixed(1 / (2 * Math.PI * scaling), 96), 4);
  return Object.fromEntries(names.map((name, n) => [name, words[n]]));
}

/** A number in fixed point. */
function fixed(x: number, bits: number): bigint {
  return BigInt(Math.round(x * 2 ** bits));
}

/** The last words of an integer, the highest first. */
function wordsOf(x: bigint, count: number): number[] {
  return Array.from(
    { length: count },
    (_, n) => Number(BigInt.asUintN(32, x >> BigInt(32 * (count - 1 - n)))),
  );
}
