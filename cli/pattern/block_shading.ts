import { markOf, toneOf } from "./palette.ts";
import type { Paint } from "./picture.ts";
import { HIDDEN, SEEN, type Sees, type Shading } from "./shading.ts";

/** What a block map covers in a picture. */
export interface ShadedBlocks {
  readonly qLen: number;
  readonly kvLen: number;
  readonly queryBlock: number;
  readonly keyBlock: number;
}

/** Of a block, how much the mask leaves. */
export const STATES = { empty: 0, partial: 1, full: 2 } as const;

const MASKED: Paint = { tones: [toneOf(1, "soft")], mark: markOf(1, "soft") };
const PARTIAL: Paint = { tones: [toneOf(1, "seen")], mark: markOf(1, "seen") };

/** Tells full, partial and empty blocks apart; `statesOf` gives the states of a head's, row by row. */
export function blockShading(
  sees: Sees,
  statesOf: (h: number) => Uint8Array,
  { kvLen, queryBlock, keyBlock }: ShadedBlocks,
): Shading {
  const columns = Math.ceil(kvLen / keyBlock);
  return {
    paints: [HIDDEN, MASKED, SEEN, PARTIAL],
    legend: [
      { paints: [SEEN], text: "seen, in a full block: no mask is asked" },
      { paints: [PARTIAL], text: "seen, in a partial block" },
      { paints: [MASKED], text: "not seen, but in a block that is visited" },
      { paints: [HIDDEN], text: "not seen, in an empty block: never visited" },
    ],
    paintOf(h) {
      const states = statesOf(h);
      return (i) => (j) => {
        const state = states[Math.floor(i / queryBlock) * columns + Math.floor(j / keyBlock)];
        if (state === STATES.empty) return 0;
        if (!sees(h, i, j)) return 1;
        return state === STATES.full ? 2 : 3;
      };
    },
  };
}

/** The state of each block of a head, row by row: `masked` says who sees whom by the mask alone. */
export function blockStates(
  h: number,
  masked: Sees,
  { qLen, kvLen, queryBlock, keyBlock }: ShadedBlocks,
): Uint8Array {
  const [rows, columns] = [Math.ceil(qLen / queryBlock), Math.ceil(kvLen / keyBlock)];
  const seen = new Uint32Array(rows * columns);
  for (let i = 0; i < qLen; i++) {
    const first = Math.floor(i / queryBlock) * columns;
    for (let j = 0; j < kvLen; j++) {
      seen[first + Math.floor(j / keyBlock)] += Number(masked(h, i, j));
    }
  }
  return Uint8Array.from(seen, (count, block) => {
    const height = Math.min(queryBlock, qLen - Math.floor(block / columns) * queryBlock);
    const width = Math.min(keyBlock, kvLen - (block % columns) * keyBlock);
    if (count === 0) return STATES.empty;
    return count === height * width ? STATES.full : STATES.partial;
  });
}
