import type { ReferenceTensor } from "./tensor.ts";

/** Which score is meant: that of query i and key j in query head h of batch b. */
export interface ScorePlace {
  /** The batch. */
  b: number;
  /** The query head. */
  h: number;
  /** The query. */
  i: number;
  /** The key. */
  j: number;
}

/** Makes a new score of a score. */
export type ScoreHook = (s: number, at: ScorePlace) => number;

/** Whether a query sees a key. */
export type MaskHook = (at: ScorePlace) => boolean;

/** Options that everything that scores keys shares. */
export interface ScoreOptions {
  /**
   * The factor of q · k.
   *
   * @default {D ** -0.5}
   */
  scale?: number;
  /**
   * Hides the keys after a query's own. Query i owns key i + S - T when `true` (the last query meets
   * the last key), key i when `"top-left"`.
   *
   * @default {false}
   */
  causal?: boolean | "top-left";
  /**
   * How many keys before and after its own a query sees; a missing side is unbounded.
   *
   * @default {undefined}
   */
  window?: { left?: number; right?: number };
  /**
   * Bounds the scores: s becomes softcap · tanh(s / softcap).
   *
   * @default {undefined}
   */
  softcap?: number;
  /**
   * Added to the scores, `[B|1, Hq|1, T|1, S]`; -Infinity hides the key, whatever a hook makes of it.
   *
   * @default {undefined}
   */
  bias?: ReferenceTensor;
  /**
   * Makes new scores of the scaled, capped and biased ones; several apply in their order. -Infinity
   * hides the key; NaN makes the row NaN.
   *
   * @default {undefined}
   */
  score?: ScoreHook | readonly ScoreHook[];
  /**
   * Says which keys a query sees, among those that `causal` and `window` leave; of several all must
   * hold.
   *
   * @default {undefined}
   */
  mask?: MaskHook | readonly MaskHook[];
}

/** The scores of one query in one head. */
export interface ScoreRow {
  /** The first key. */
  start: number;
  /** The scores of the keys start, start + 1, …; -Infinity where a key is hidden. */
  s: Float64Array;
}

/** Prepares the scores, row by row: scaled, capped, biased, hooked and masked, in this order. */
export function scoreRows(
  q: ReferenceTensor,
  k: ReferenceTensor,
  options: ScoreOptions,
): (b: number, h: number, i: number) => ScoreRow {
  const [, qLen, heads, headDim] = q.shape;
  const [, kvLen, kvHeads] = k.shape;
  const { scale = headDim ** -0.5, softcap, bias } = options;
  const hooks = [options.score ?? []].flat();
  const masks = [options.mask ?? []].flat();
  const qs = new Float64Array(q.data);
  const ks = new Float64Array(k.data);
  const biases = new Float64Array(bias?.data ?? []);

  return (b, h, i) => {
    const [start, end] = keyRange(i, qLen, kvLen, options);
    const kvHead = Math.floor(h / (heads / kvHeads));
    const qStart = ((b * qLen + i) * heads + h) * headDim;
    const biasRow = bias ? broadcastRow(bias.shape, b, h, i) : 0;
    const s = new Float64Array(Math.max(0, end - start));
    for (let j = start; j < end; j++) {
      const kStart = ((b * kvLen + j) * kvHeads + kvHead) * headDim;
      let dot = 0;
      for (let d = 0; d < headDim; d++) dot += qs[qStart + d] * ks[kStart + d];
      let score = scale * dot;
      if (softcap !== undefined) score = softcap * Math.tanh(score / softcap);
      if (bias) score += biases[biasRow + j];
      const hidden = score === -Infinity || !masks.every((mask) => mask({ b, h, i, j }));
      for (const hook of hooks) score = hook(score, { b, h, i, j });
      s[j - start] = hidden ? -Infinity : score;
    }
    return { start, s };
  };
}

/** The keys start <= j < end that causal and window leave to query i. */
function keyRange(
  i: number,
  qLen: number,
  kvLen: number,
  { causal = false, window = {} }: ScoreOptions,
): [start: number, end: number] {
  const { left = Infinity, right = Infinity } = window;
  const diagonal = causal === "top-left" ? i : i + kvLen - qLen;
  const last = causal ? Math.min(diagonal, diagonal + right) : diagonal + right;
  return [Math.max(0, diagonal - left), Math.min(kvLen, last + 1)];
}

/** Where the row of query i of head h of batch b begins in a bias of this shape. */
function broadcastRow(shape: readonly number[], b: number, h: number, i: number): number {
  const [batch, heads, qLen, kvLen] = shape;
  const head = (batch === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h);
  return (head * qLen + (qLen === 1 ? 0 : i)) * kvLen;
}
