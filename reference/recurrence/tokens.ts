import type { ReferenceTensor } from "../tensor.ts";
import type { RecurrenceOptions } from "./engine.ts";
import { rowsOf } from "./sequences.ts";

/** What one token brings to one state head. */
export interface Token {
  /** The key, `[K]`. */
  k: Float64Array;
  /** The value, `[V]`, and a one behind it where the keys are summed too. */
  v: Float64Array;
  /** exp(g), `[K]`. */
  decay: Float64Array;
  /** exp(gv), as long as `v`. */
  valueDecay: Float64Array;
  /** The factor of kᵀ v. */
  beta: number;
  /** What is erased: bᵀ (a S) is added to the state. */
  erase: { a: Float64Array; b: Float64Array } | null;
  /** The bonus of the key, `[K]`. */
  u: Float64Array | null;
}

/** Gives token t, counted over the batch, as state head s sees it. */
export function tokensOf(
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: RecurrenceOptions,
): (t: number, s: number) => Token {
  const { g, gv, beta, p = k, a, b, u, normalize = false } = options;
  const keyDim = k.shape[3];
  const [heads, valueDim] = v.shape.slice(-2);
  const width = valueDim + (normalize ? 1 : 0);
  const tied = beta !== undefined || options.p !== undefined;
  const [kAt, vAt, pAt] = [k, v, p].map((x) => rowsOf(x, heads));
  const gvAt = gv && rowsOf(gv, heads);
  const general = a && b && { aAt: rowsOf(a, heads), bAt: rowsOf(b, heads) };
  const uAt = u && rowsOf({ data: u.data, shape: [1, ...u.shape] }, heads);
  const decayAt = decaysOf(g, heads, keyDim);

  return (t, s) => {
    const token: Token = {
      k: kAt(t, s),
      v: new Float64Array(width).fill(1),
      decay: decayAt(t, s),
      valueDecay: new Float64Array(width).fill(1),
      beta: beta ? beta.data[t * heads + s] : 1,
      erase: null,
      u: uAt ? uAt(0, s) : null,
    };
    token.v.set(vAt(t, s));
    if (gvAt) token.valueDecay.set(gvAt(t, s).map(Math.exp));
    if (general) token.erase = { a: general.aAt(t, s), b: general.bAt(t, s) };
    if (tied) {
      token.erase = {
        a: pAt(t, s).map((p_d, d) => -token.decay[d] * p_d),
        b: token.k.map((k_d) => token.beta * k_d),
      };
    }
    return token;
  };
}

/** exp(g) for each key channel, from g `[HV]`, `[B, T, HV]` or `[B, T, HV, K]`. */
function decaysOf(
  g: ReferenceTensor | undefined,
  heads: number,
  keyDim: number,
): (t: number, s: number) => Float64Array {
  if (g?.shape.length === 4) {
    const gAt = rowsOf(g, heads);
    return (t, s) => gAt(t, s).map(Math.exp);
  }
  const perToken = g?.shape.length === 3;
  return (t, s) => {
    const gate = g ? g.data[perToken ? t * heads + s : s] : 0;
    return new Float64Array(keyDim).fill(Math.exp(gate));
  };
}
