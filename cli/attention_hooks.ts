import { dtypeOf } from "../gpu/dtype.ts";
import { WEIGHTS } from "../kernels/attention/weights.ts";
import type { HookInput, HookType } from "../kernels/hooks/hook.ts";
import type { AttentionWeight, MaskHook, ScoreHook } from "../reference/mod.ts";
import { type HookFunction, hookFunction } from "./hook_function.ts";
import { elementAt, type HookTable } from "./hook_table.ts";

/** Programmable parts of attention, as their user writes them. */
export interface HookTexts {
  readonly score?: string;
  readonly mask?: string;
  /** A name or WGSL text. */
  readonly weight?: string;
}

/** A hook and what it reads, on the host. */
export interface HostHook {
  readonly code: string;
  readonly inputs: Readonly<Record<string, HookTable | number>>;
}

/** The same for the oracle, in float64. */
export interface OracleHooks {
  readonly score?: ScoreHook;
  readonly mask?: MaskHook;
  readonly weight?: AttentionWeight;
}

const PLACE = { b: "i32", h: "i32", i: "i32", j: "i32" } as const;

/** The texts that are there, as options of `attention`. */
export function hookOptions(
  { score, mask, weight }: Readonly<Partial<Record<keyof HookTexts, string | undefined>>>,
): HookTexts {
  return {
    ...(score !== undefined && { score }),
    ...(mask !== undefined && { mask }),
    ...(weight !== undefined && { weight }),
  };
}

/** The text of a hook on one line, not too long. */
export function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 40 ? line : `${line.slice(0, 37)}...`;
}

/** Translates hooks for the oracle. */
export function oracleHooks({ score, mask, weight }: HookTexts): OracleHooks {
  return {
    ...(score !== undefined && { score: scoreOf(score) }),
    ...(mask !== undefined && { mask: maskOf(mask).mask }),
    ...(weight !== undefined && { weight: weightOf(weight) }),
  };
}

/** A mask for the oracle, and whether batch entries and heads differ under it. */
export function maskOf(
  hook: string | HostHook,
): { readonly mask: MaskHook; readonly batches: boolean; readonly heads: boolean } {
  const { call, variables } = compiled("mask", hook, PLACE, "bool");
  return {
    mask: (at) => Boolean(call(at)),
    batches: variables.includes("b"),
    heads: variables.includes("h"),
  };
}

/** A score for the oracle. */
export function scoreOf(hook: string | HostHook): ScoreHook {
  const { call } = compiled("score", hook, { s: "f32", ...PLACE }, "f32");
  return (s, at) => Number(call({ s, ...at }));
}

function weightOf(text: string): AttentionWeight {
  if (Object.hasOwn(WEIGHTS, text)) return text as keyof typeof WEIGHTS;
  const { call } = compiled("weight", text, { s: "f32" }, "f32");
  return { weight: (s) => Number(call({ s })), normalize: true };
}

function compiled(
  name: string,
  hook: string | HostHook,
  variables: Readonly<Record<string, HookType>>,
  result: HookType,
): HookFunction {
  const { code, inputs } = typeof hook === "string" ? { code: hook, inputs: {} } : hook;
  const named = Object.entries(inputs);
  const numbers = Object.fromEntries(
    named.flatMap(([input, value]) =>
      typeof value === "number" ? [[input, Math.fround(value)] as const] : []
    ),
  );
  const tables = named.filter((entry): entry is [string, HookTable] =>
    typeof entry[1] !== "number"
  );
  const numeric = Object.keys(numbers).map((input) => [input, "f32"] as const);
  const { call, ...compiled } = hookFunction(
    code,
    {
      ...{ name, result, variables: { ...variables, ...Object.fromEntries(numeric) } },
      inputs: Object.fromEntries(tables.map(([input, table]) => [input, inputOf(table)])),
    },
    Object.fromEntries(tables.map(([input, table]) => [input, (...at) => elementAt(table, ...at)])),
  );
  if (numeric.length === 0) return { ...compiled, call };
  return { ...compiled, call: (values) => call({ ...values, ...numbers }) };
}

function inputOf({ data, shape }: HookTable): HookInput {
  const dtype = dtypeOf(data);
  return { type: dtype === "f16" ? "f32" : dtype, rank: shape.length };
}
