import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";
import { type AttentionWeight, auxOf } from "./weights.ts";

/** One of the partial results of softmax attention that {@linkcode mergeAttention} takes. */
export interface AttentionPart {
  /** The output over the part's keys, `[..., H, Dv]`; not read where `lse` is -Infinity. */
  out: ReferenceTensor;
  /** The log-sum-exp over the part's keys, natural, `[..., H]`; -Infinity where it has none. */
  lse: ReferenceTensor;
}

/** One of the partial results of attention with any weight that {@linkcode mergeAttention} takes. */
export interface WeighedPart {
  /** The output over the part's keys, `[..., H, Dv]`; not read where it counts 0 times. */
  out: ReferenceTensor;
  /** The log-sum-exp of softmax, `[..., H]`; where it is missing, `aux` is it. */
  lse?: ReferenceTensor;
  /** What the weight keeps of each row, `[..., H]`; needed unless outputs just add. */
  aux?: ReferenceTensor;
}

/** Options for {@linkcode mergeAttention}. */
export interface MergeOptions {
  /**
   * The weight of the attention that made the parts, which says how often each part counts:
   *
   * - softmax: exp(lse_p - lse) times, where lse = log Σ_p exp(lse_p).
   * - weights divided by their sum: aux_p / Σ_p aux_p times; 0 where all sums are 0.
   * - weights that are not divided: once.
   * - stick-breaking: exp(Σ aux) times, over the parts before it: the parts go from the last keys to
   *   the first.
   *
   * @default {"softmax"}
   */
  weight?: AttentionWeight;
  /**
   * A factor c_p for each part: a number, or a tensor `[..., H]` or `[H]`. The parts count c_p times:
   * out = Σ_p c_p out_p, and the result has no `aux`. Convex mixes of whole attentions (catalogue T08
   * ConViT, T27 SoftPAG), or of parts whose shares the caller has computed (T24 ACT: βm and 1 - βm).
   *
   * @default {undefined}
   */
  coefficients?: readonly (number | ReferenceTensor)[];
  /**
   * Whether the coefficients multiply how often the parts count by their weight, without
   * renormalisation: of softmax out = Σ_p c_p exp(lse_p - lse) out_p. The result keeps `aux`, so it can
   * be merged again. Catalogue T10, iLLaMA's soft mask: [1, ρ] for the keys up to the query and those
   * after it; T24, ACT: [β, (1 - βm) / (1 - m)] for sinks of mass m = exp(lse_1 - lse) and the rest.
   *
   * @default {false}
   */
  masses?: boolean;
}

/** What {@linkcode mergeAttention} returns for any weight. */
export interface MergedParts extends WeighedPart {
  /** The output over the keys of all parts, `[..., H, Dv]`; 0 where no part sees a key. */
  out: Float64Tensor;
  /** Of softmax alone: see {@linkcode MergedAttention}. */
  lse?: Float64Tensor;
  /** What the weight keeps of each row over the keys of all parts, `[..., H]`. */
  aux?: Float64Tensor;
}

/** What {@linkcode mergeAttention} returns for softmax; it can be merged again. */
export interface MergedAttention extends MergedParts {
  /** The log-sum-exp over the keys of all parts, `[..., H]`; -Infinity where no part sees a key. */
  lse: Float64Tensor;
  /** The same as `lse`. */
  aux: Float64Tensor;
}

/**
 * Merges attention of the same queries over disjoint sets of keys into attention over all of them.
 *
 * out = Σ_p f_p out_p over the parts p, row by row; how often f_p a part counts is softmax's
 * exp(lse_p - lse), lse = log Σ_p exp(lse_p), or what the options say.
 *
 * @param parts At least one output and log-sum-exp, `[B, T, H, Dv]` and `[B, T, H]`, or with other
 * axes before the heads; the shapes of all parts are the same.
 * @param options How often the parts count.
 * @returns The output and the log-sum-exp of each row.
 *
 * @example Two halves of the keys
 * ```ts
 * import { attention, mergeAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 1, 1, 1];
 * const q = { data: [1], shape };
 * const a = attention(q, { data: [0], shape }, { data: [4], shape });
 * const b = attention(q, { data: [Math.log(3)], shape }, { data: [8], shape });
 *
 * const { out, lse } = mergeAttention([a, b]); // the weights are 1/4 and 3/4
 *
 * assertAlmostEquals(out.data[0], 7);
 * assertAlmostEquals(lse.data[0], Math.log(4));
 * ```
 */
export function mergeAttention(
  parts: readonly AttentionPart[],
  options?: { weight?: "softmax"; masses?: false } | {
    weight?: "softmax";
    coefficients: readonly (number | ReferenceTensor)[];
    masses: true;
  },
): MergedAttention;
/**
 * The same for any weight, and for mixes.
 *
 * @param parts At least one output, `[..., H, Dv]`, with `aux`, `[..., H]`, where the weight has it.
 * @param options How often the parts count.
 * @returns The output, and `aux` where the weight has it.
 *
 * @example The last key takes its share of the stick, an earlier one half of what is left
 * ```ts
 * import { mergeAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const part = (out: number, left: number) => ({
 *   out: { data: [out], shape: [1, 1, 1, 1] },
 *   aux: { data: [Math.log(left)], shape: [1, 1, 1] },
 * });
 *
 * const { out } = mergeAttention([part(6, 1 / 4), part(8, 1 / 2)], { weight: "stickBreaking" });
 *
 * assertAlmostEquals(out.data[0], 6 + 8 / 4);
 * ```
 */
export function mergeAttention(parts: readonly WeighedPart[], options: MergeOptions): MergedParts;
export function mergeAttention(
  parts: readonly WeighedPart[],
  { weight = "softmax", coefficients, masses = false }: MergeOptions = {},
): MergedParts {
  const { shape } = parts[0].out;
  const valueDim = shape[shape.length - 1];
  const rowShape = shape.slice(0, -1);
  const rows = rowShape.reduce((product, size) => product * size, 1);
  const kind = coefficients && !masses ? null : auxOf(weight);
  const out = new Float64Array(rows * valueDim);
  const auxData = new Float64Array(rows);

  for (let row = 0; row < rows; row++) {
    const given = parts.map(({ lse, aux }) => (lse ?? aux)?.data[row] ?? NaN);
    const merged = kind === null ? null : RULES[kind](given);
    auxData[row] = merged?.aux ?? NaN;
    for (const [p, part] of parts.entries()) {
      const coefficient = coefficients ? elementOf(coefficients[p], row) : 1;
      const factor = coefficient * (merged?.counts[p] ?? 1);
      if (factor === 0) continue; // sees no key, or does not count: out is not read
      for (let d = row * valueDim; d < (row + 1) * valueDim; d++) {
        out[d] += factor * part.out.data[d];
      }
    }
  }
  const result = { out: { data: out, shape: [...shape] } };
  const aux = { data: auxData, shape: rowShape };
  if (kind === null) return result;
  return kind === "lse" ? { ...result, lse: aux, aux } : { ...result, aux };
}

/** How often each part counts in one row, and what is kept of all of them. */
interface MergedRow {
  counts: number[];
  aux: number;
}

/** What a row's auxiliary numbers say, by what they are. */
const RULES: Record<"lse" | "sum" | "remainder", (aux: number[]) => MergedRow> = {
  lse: (lses) => {
    const m = Math.max(...lses);
    if (m === -Infinity) return { counts: lses.map(() => 0), aux: m }; // no part sees a key
    const l = lses.reduce((sum, lse) => sum + Math.exp(lse - m), 0);
    return { counts: lses.map((lse) => Math.exp(lse - m) / l), aux: m + Math.log(l) };
  },
  sum: (sums) => {
    const total = sums.reduce((sum, part) => sum + part, 0);
    return { counts: sums.map((part) => total === 0 ? 0 : part / total), aux: total };
  },
  remainder: (logs) => {
    let left = 0;
    const counts: number[] = [];
    for (const log of logs) {
      counts.push(Math.exp(left));
      left += log;
    }
    return { counts, aux: left };
  },
};

/** The coefficient of a row; one for each head repeats. */
function elementOf(coefficient: number | ReferenceTensor, row: number): number {
  if (typeof coefficient === "number") return coefficient;
  return coefficient.data[row % coefficient.data.length];
}
