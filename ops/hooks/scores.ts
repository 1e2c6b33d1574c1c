import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { HookSource } from "../attention/hooks.ts";
import { isFiniteF32 } from "../attention/sizes.ts";
import { oneOf } from "../options.ts";
import { checkCount, checkTable, type PlacedOptions, placeOf } from "./place.ts";

/** Options of {@linkcode alibi}. */
export interface AlibiOptions extends PlacedOptions {
  /**
   * What slopes are multiplied by: |i − j|, or max(i − j, 0), which lowers earlier keys alone. Under a
   * causal mask they are the same.
   *
   * @default {"absolute"}
   */
  distance?: "absolute" | "past";
}

const FLOATS = ["f32", "f16"] as const;

/**
 * Attention with linear biases: s − m_h |i − j|.
 *
 * Definition: Press, Smith and Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input
 * Length Extrapolation" (ICLR 2022), section 3. Its slopes for `heads` heads are the powers m_h =
 * 2^(−8 (h + 1) / heads); code that takes others where the heads are no power of two gives them as a tensor.
 *
 * @param slopes m, `[Hq]`, f32 or f16; or the number of heads, Hq, for the slopes of the paper
 * @param options what counts as distance, where queries stand
 * @returns a score
 * @throws TypeError or RangeError if an argument does not fit
 *
 * @example Eight heads
 * ```ts
 * import { alibi, attention, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 8 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 8, 16]));
 * const { out } = attention(q, k, v, { causal: true, score: alibi({ heads: 8 }) });
 * console.log(await out.read());
 * ```
 */
export function alibi(
  slopes: Tensor | { readonly heads: number },
  options: AlibiOptions = {},
): HookSource {
  const action = "make the score alibi";
  const { i, inputs } = placeOf(action, options, ["distance"]);
  const { distance = "absolute" } = options;
  oneOf<unknown>(action, "distance", distance, ["absolute", "past"]);
  const steps = distance === "past" ? `max(${i} - j, 0)` : `abs(${i} - j)`;
  if (slopes instanceof Tensor) {
    checkTable(action, "slopes", slopes, { dtypes: FLOATS, axes: [["Hq"]] });
    return {
      code: `s - alibiSlopes(h) * f32(${steps})`,
      inputs: { ...inputs, alibiSlopes: slopes },
    };
  }
  const { heads } = Object(slopes) as { heads?: unknown };
  checkCount(action, "heads", heads, { least: 1 });
  return { code: `s - exp2(f32(h + 1) * ${-8 / Number(heads)}) * f32(${steps})`, inputs };
}

/**
 * Bounds scores: cap · tanh(s / cap). The option `softcap` of `attention` does the same, before the bias;
 * this one takes its place among other hooks.
 *
 * Definition: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size" (2024), section 2.
 *
 * @param cap what scores stay below, a finite f32 > 0
 * @returns a score
 * @throws RangeError if the cap does not fit
 *
 * @example Scores between -30 and 30
 * ```ts
 * import { softcap } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * assertEquals(softcap(30).code, "30 * tanh(s / 30)");
 * ```
 */
export function softcap(cap: number): HookSource {
  checkPositive("make the score softcap", "cap", cap);
  return { code: `${cap} * tanh(s / ${cap})` };
}

/**
 * Scores over a temperature: s / τ, one for all, for each head or for each row.
 *
 * @param temperatures τ: a finite f32 > 0; or f32 or f16 `[Hq]`, `[T, Hq]` or `[B, T, Hq]`
 * @returns a score
 * @throws TypeError or RangeError if the temperatures do not fit
 *
 * @example A sharper first head
 * ```ts
 * import { attention, requestGpu, temperature } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 2 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 2, 16]));
 * const score = temperature(gpu.tensor(Float32Array.of(0.5, 1), [2]));
 * const { out } = attention(q, k, v, { score });
 * console.log(await out.read());
 * ```
 */
export function temperature(temperatures: number | Tensor): HookSource {
  const action = "make the score temperature";
  if (!(temperatures instanceof Tensor)) {
    checkPositive(action, "temperatures", temperatures);
    return { code: "s / temperatures", inputs: { temperatures } };
  }
  const axes = [["Hq"], ["T", "Hq"], ["B", "T", "Hq"]];
  checkTable(action, "temperatures", temperatures, { dtypes: FLOATS, axes });
  const place = ["h", "i, h", "b, i, h"][temperatures.shape.length - 1];
  return { code: `s / temperatures(${place})`, inputs: { temperatures } };
}

/**
 * A learned bias for each head and distance: s + table_h[clip(j − i, −R, R) + R].
 *
 * Definition: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
 * Transformer" (JMLR 2020), section 2.1, with a bucket for each distance; the clipping is that of Shaw,
 * Uszkoreit and Vaswani, "Self-Attention with Relative Position Representations" (NAACL 2018), section 3.2.
 *
 * @param table `[Hq, 2R + 1]`, f32 or f16, from keys R before a query to those R behind it; `[1, 2R + 1]`
 * for all heads
 * @param options where queries stand
 * @returns a score
 * @throws TypeError or RangeError if an argument does not fit
 *
 * @example The key before a query, itself, and the one behind
 * ```ts
 * import { attention, relativeBias, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 1, 16]));
 * const table = gpu.tensor(Float32Array.of(0.5, 1, 0), [1, 3]);
 * const { out } = attention(q, k, v, { score: relativeBias(table) });
 * console.log(await out.read());
 * ```
 */
export function relativeBias(table: Tensor, options: PlacedOptions = {}): HookSource {
  const action = "make the score relativeBias";
  const { i, inputs } = placeOf(action, options);
  checkTable(action, "table", table, { dtypes: FLOATS, axes: [["Hq", "2R + 1"]] });
  const columns = table.shape[1];
  if (columns % 2 === 0) {
    throw new TypeError(
      `Cannot ${action} as table must have an odd number of columns, 2R + 1: table is [${table.shape}]`,
    );
  }
  // indices are clamped to their axes, which clips distances
  const code = `s + relativeBias(h, j - ${i} + ${(columns - 1) / 2})`;
  return { code, inputs: { ...inputs, relativeBias: table } };
}

function checkPositive(action: string, name: string, value: unknown): void {
  if (typeof value === "number" && isFiniteF32(value) && Math.fround(value) > 0) return;
  throw new RangeError(
    `Cannot ${action} as ${name} must be a finite f32 > 0: ${name} is ${kindOf(value)}`,
  );
}
