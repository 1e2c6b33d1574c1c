import { Tensor } from "../../gpu/tensor.ts";
import type { HookSource } from "../attention/hooks.ts";
import { checkCount, checkTable, type PlacedOptions, placeOf, reachOf } from "./place.ts";

/**
 * Keys around a query: i − left ≤ j ≤ i + right.
 *
 * Definition: Beltagy, Peters and Cohan, "Longformer: The Long-Document Transformer" (2020), section 3.1.
 * Alone, the option `window` of `attention` does the same without a hook.
 *
 * @param left keys before a query that it sees, Infinity for all
 * @param right keys behind a query that it sees, Infinity for all
 * @param options where queries stand
 * @returns a mask
 * @throws TypeError or RangeError if an argument does not fit
 *
 * @example A hundred keys before each query
 * ```ts
 * import { compileBlockMap, requestGpu, slidingWindow } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * using map = compileBlockMap(gpu, slidingWindow(100, 0), { qLen: 256, kvLen: 256 });
 * assertEquals(await map.density(), (1 + 2 + 3 + 3) / 16);
 * ```
 */
export function slidingWindow(
  left: number,
  right: number,
  options: PlacedOptions = {},
): HookSource {
  const action = "make the mask slidingWindow";
  const { i, inputs } = placeOf(action, options);
  const [before, behind] = [reachOf(action, "left", left), reachOf(action, "right", right)];
  return { code: `${i} - j <= ${before} && j - ${i} <= ${behind}`, inputs };
}

/**
 * A causal window for each head: 0 ≤ i − j ≤ w_h; or one on both sides.
 *
 * Definition: Fu et al., "MoA: Mixture of Sparse Attention for Automatic Large Language Model Compression"
 * (2024), section 3.
 *
 * @param windows keys before a query that it sees, i32 `[Hq]`; or those before and behind it, `[Hq, 2]`
 * @param options where queries stand
 * @returns a mask; maps of it have `heads`
 * @throws TypeError or RangeError if an argument does not fit
 *
 * @example A near-sighted and a far-sighted head
 * ```ts
 * import { attention, compileBlockMap, headWindow, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 500 * 2 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 500, 2, 16]));
 * const mask = headWindow(gpu.tensor(Int32Array.of(16, 300), [2]));
 * using blockMap = compileBlockMap(gpu, mask, { qLen: 500, kvLen: 500, heads: 2 });
 * const { out } = attention(q, k, v, { blockMap });
 * console.log(await out.read());
 * ```
 */
export function headWindow(windows: Tensor, options: PlacedOptions = {}): HookSource {
  const action = "make the mask headWindow";
  const { i, inputs } = placeOf(action, options);
  checkTable(action, "windows", windows, { dtypes: ["i32"], axes: [["Hq"], ["Hq", "2"]] });
  const read = { ...inputs, headWindows: windows };
  if (windows.shape.length === 1) {
    return { code: `j <= ${i} && ${i} - j <= headWindows(h)`, inputs: read };
  }
  if (windows.shape[1] !== 2) {
    throw new TypeError(
      `Cannot ${action} as windows must be [Hq] or [Hq, 2]: windows is [${windows.shape}]`,
    );
  }
  const code = `${i} - j <= headWindows(h, 0) && j - ${i} <= headWindows(h, 1)`;
  return { code, inputs: read };
}

/** Options of {@linkcode sinkWindow}. */
export interface SinkWindowOptions extends PlacedOptions {
  /** Keys at the start that all later queries see. */
  sinks: number;
  /** Keys before a query that it sees. */
  window: number;
}

/**
 * The first keys and the last: j ≤ i, and j < sinks or i − j ≤ window.
 *
 * Definition: Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (ICLR 2024), section
 * 3.2; its window counts the query's own key, this one does not.
 *
 * @param options sinks, window, where queries stand
 * @returns a mask
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example Four sinks
 * ```ts
 * import { attention, requestGpu, sinkWindow } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 1, 16]));
 * const { out } = attention(q, k, v, { mask: sinkWindow({ sinks: 4, window: 31 }) });
 * console.log(await out.read());
 * ```
 */
export function sinkWindow(options: SinkWindowOptions): HookSource {
  const action = "make the mask sinkWindow";
  const { i, inputs } = placeOf(action, options, ["sinks", "window"]);
  const { sinks, window } = options;
  checkCount(action, "sinks", sinks, { least: 0 });
  checkCount(action, "window", window, { least: 0 });
  return { code: `j <= ${i} && (j < ${sinks} || ${i} - j <= ${window})`, inputs };
}

/** Options of {@linkcode dilatedWindow}. */
export interface DilatedWindowOptions extends PlacedOptions {
  /** Keys before a query that it sees, Infinity for all. */
  left: number;
  /**
   * Keys behind a query that it sees, Infinity for all.
   *
   * @default {0}
   */
  right?: number;
  /** Steps between them, for all heads or for each, i32 `[Hq]`, at least 1. */
  dilation: number | Tensor;
}

/**
 * A window with gaps: every d-th key, `left` of them before a query and `right` behind it.
 *
 * Definition: Beltagy, Peters and Cohan, "Longformer: The Long-Document Transformer" (2020), section 3.1.
 *
 * @param options window, dilation, where queries stand
 * @returns a mask; maps of it have `heads` where dilations differ
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example Eight keys, every second one
 * ```ts
 * import { attention, dilatedWindow, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 1, 16]));
 * const { out } = attention(q, k, v, { mask: dilatedWindow({ left: 7, dilation: 2 }) });
 * console.log(await out.read());
 * ```
 */
export function dilatedWindow(options: DilatedWindowOptions): HookSource {
  const action = "make the mask dilatedWindow";
  const { i, inputs } = placeOf(action, options, ["left", "right", "dilation"]);
  const { left, right = 0, dilation } = options;
  const [before, behind] = [reachOf(action, "left", left), reachOf(action, "right", right)];
  // steps are compared, since left times dilation may not fit
  const code = (d: string): string =>
    `(${i} - j) % ${d} == 0 && (${i} - j) / ${d} <= ${before} && (j - ${i}) / ${d} <= ${behind}`;
  if (dilation instanceof Tensor) {
    checkTable(action, "dilation", dilation, { dtypes: ["i32"], axes: [["Hq"]] });
    return { code: code("max(dilations(h), 1)"), inputs: { ...inputs, dilations: dilation } };
  }
  checkCount(action, "dilation", dilation, { least: 1 });
  return { code: code(`${dilation}`), inputs };
}
