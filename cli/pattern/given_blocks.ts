import type { NpyArray } from "../npy.ts";
import { STATES } from "./block_shading.ts";

/** Blocks of a map that a file lists: a matrix, or the numbers of the key blocks of each row. */
export interface GivenBlocks extends Pick<NpyArray, "data" | "dtype" | "shape"> {
  readonly kind: "matrix" | "indices";
}

/** What a picture shows of given blocks. */
export interface GivenSizes {
  readonly qLen: number;
  readonly kvLen: number;
  readonly heads: number;
  readonly queryBlock: number;
  readonly keyBlock: number;
  /** Which batch entry is drawn. */
  readonly batchEntry: number;
  /** Whether a mask decides in listed blocks. */
  readonly masked: boolean;
}

/** Refuses what holds no blocks: the files of `blockMapFromMatrix` and `blockMapFromIndices`. */
export function checkGiven({ kind, dtype, shape }: GivenBlocks): void {
  if (dtype !== "i32") fail(kind, `be integers: ${kind} is ${dtype}`);
  const axes = ["B|1", "Hq|1", "blocks of queries", kind === "matrix" ? "blocks of keys" : "any"];
  const filled = shape.slice(0, kind === "matrix" ? 4 : 3).every((size) => size > 0);
  if (shape.length === axes.length && filled) return;
  fail(kind, `be [${axes.join(", ")}], and have an element: ${kind} is [${shape}]`);
}

/** What given blocks cover; indices do not tell how many keys there are. */
export function coverOf(
  { kind, shape: [, heads, rows, width] }: GivenBlocks,
  { queryBlock, keyBlock }: Pick<GivenSizes, "queryBlock" | "keyBlock">,
): Partial<GivenSizes> {
  const kvLen = width * keyBlock;
  return { heads, qLen: rows * queryBlock, ...(kind === "matrix" && { kvLen }) };
}

/**
 * The states of the blocks of a head, row by row, as the library makes them: listed blocks are full, or
 * partial under a mask.
 *
 * @throws TypeError or RangeError where the file does not cover what is to be drawn
 */
export function givenStates(given: GivenBlocks, sizes: GivenSizes): (h: number) => Uint8Array {
  const { kind, data, shape: [batch, heads, rows, width] } = given;
  const { batchEntry, masked } = sizes;
  checkCover(given, sizes);
  const columns = Math.ceil(sizes.kvLen / sizes.keyBlock);
  const listed = masked ? STATES.partial : STATES.full;
  return (h) => {
    const states = new Uint8Array(rows * columns);
    const head = (batch === 1 ? 0 : batchEntry) * heads + (heads === 1 ? 0 : h);
    data.subarray(head * rows * width, (head + 1) * rows * width).forEach((value, at) => {
      const column = kind === "matrix" ? at % width : value;
      const there = kind === "matrix" ? value !== 0 : value >= 0 && value < columns;
      if (there) states[Math.floor(at / width) * columns + column] = listed;
    });
    return states;
  };
}

function checkCover({ kind, shape }: GivenBlocks, sizes: GivenSizes): void {
  const [batch, heads, rows, width] = shape;
  const { qLen, kvLen, queryBlock, keyBlock, batchEntry } = sizes;
  const wanted = [Math.ceil(qLen / queryBlock), Math.ceil(kvLen / keyBlock)];
  if (rows !== wanted[0] || (kind === "matrix" && width !== wanted[1])) {
    const last = kind === "matrix" ? wanted[1] : "any";
    fail(
      kind,
      `be [B|1, Hq|1, ${
        wanted[0]
      }, ${last}] for ${qLen} queries and ${kvLen} keys in blocks of ${queryBlock} x ${keyBlock}: ${kind} is [${shape}]`,
    );
  }
  const counts = { "batch entry": [batch, batchEntry + 1], "heads": [heads, sizes.heads] };
  for (const [what, [there, needed]] of Object.entries(counts)) {
    if (there === 1 || needed <= there) continue;
    throw new RangeError(
      `Cannot draw a block map as ${kind} must have the ${what} to draw: it has ${there}, ${needed} must be there`,
    );
  }
}

function fail(kind: string, rule: string): never {
  throw new TypeError(`Cannot draw a block map as ${kind} must ${rule}`);
}
