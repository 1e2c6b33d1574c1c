/** How the tokens of a tile are walked once invocations have loaded one each. */
export interface TokenWalk {
  /** The loop over tokens j, of which the first of the tile is `first` and `count` are in all. */
  readonly walk: (body: string) => string;
  /** Whether token j is there, as WGSL. */
  readonly there: string;
}

/** One by one. */
export const ONE_BY_ONE: TokenWalk = {
  walk: (body) => /* wgsl */ `
    let loaded = min(TOKENS, count - first);
    for (var j = 0u; j < loaded; j++) {
      ${body}
    }`,
  there: "true",
};

/** All of them in text, where j is a literal; those that are not there must change nothing. */
export const IN_TEXT: TokenWalk = {
  walk: (body) => /* wgsl */ `
    @unroll for (var j = 0u; j < TOKENS; j++) {
      ${body}
    }`,
  there: "first + j < count",
};

/** Tokens that are walked in text: as many as keep it near that of `most` numbers of a state. */
export function tokensInText(numbers: number, most: number): number {
  return Math.min(8, 2 ** Math.max(0, Math.floor(Math.log2(most / numbers))));
}
