import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { HookInputs } from "../attention/hooks.ts";
import { checkDType, checkTensors } from "../tensors.ts";

/** Options of hooks that compare where queries and keys stand; T queries, S keys. */
export interface PlacedOptions {
  /**
   * Which key the first query stands at: S − T where the last query stands at the last key, as
   * `attention` has it by itself for `causal`. Another offset compiles nothing anew.
   *
   * @default {0}
   */
  offset?: number;
}

/** Where a query stands among the keys: WGSL, and what it reads. */
export interface Place {
  readonly i: string;
  readonly inputs: HookInputs;
}

/** Numbers of hooks are f32. */
const MAX_EXACT = 2 ** 24;

/** Beyond any length, and safe to add to one in 32 bits. */
const UNBOUNDED = 2 ** 30;

/** Checks the options of a hook, and says where its queries stand. */
export function placeOf(
  action: string,
  options: PlacedOptions,
  names: readonly string[] = [],
): Place {
  checkOptionNames(action, options, [...names, "offset"]);
  const { offset = 0 } = options;
  if (!Number.isSafeInteger(offset) || Math.abs(offset) > MAX_EXACT) {
    throw new RangeError(
      `Cannot ${action} as offset must be an integer from -2^24 to 2^24: offset is ${
        kindOf(offset)
      }`,
    );
  }
  if (offset === 0) return { i: "i", inputs: {} };
  return { i: "(i + i32(queryOffset))", inputs: { queryOffset: offset } };
}

/** Checks an integer that becomes part of a hook's text; one that is an input is exact to 2^24. */
export function checkCount(
  action: string,
  name: string,
  count: unknown,
  { least, input = false }: { readonly least: number; readonly input?: boolean },
): void {
  const most = input ? MAX_EXACT : UNBOUNDED;
  if (Number.isSafeInteger(count) && Number(count) >= least && Number(count) <= most) return;
  throw new RangeError(
    `Cannot ${action} as ${name} must be an integer from ${least} to 2^${
      Math.log2(most)
    }: ${name} is ${kindOf(count)}`,
  );
}

/** Checks how far a side of a window reaches, as WGSL; Infinity is beyond any length. */
export function reachOf(action: string, name: string, reach: number): number {
  if (reach === Infinity) return UNBOUNDED;
  checkCount(action, name, reach, { least: 0 });
  return reach;
}

/** Checks a table of a hook: its type, and how many axes it may have. */
export function checkTable(
  action: string,
  name: string,
  table: Tensor,
  { dtypes, axes }: {
    readonly dtypes: readonly Tensor["dtype"][];
    readonly axes: readonly (readonly string[])[];
  },
): void {
  checkTensors(action, { [name]: table });
  checkDType(action, name, table, dtypes);
  if (axes.some(({ length }) => length === table.shape.length)) return;
  throw new TypeError(
    `Cannot ${action} as ${name} must be ${
      axes.map((names) => `[${names.join(", ")}]`).join(" or ")
    }: ${name} is [${table.shape}]`,
  );
}
