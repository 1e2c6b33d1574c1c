import { WEIGHTS } from "../kernels/attention/weights.ts";
import type { HookType } from "../kernels/hooks/hook.ts";
import type { AttentionWeight, MaskHook, ScoreHook } from "../reference/mod.ts";
import { type HookFunction, hookFunction } from "./hook_function.ts";

/** Programmable parts of attention, as their user writes them. */
export interface HookTexts {
  readonly score?: string;
  readonly mask?: string;
  /** A name or WGSL text. */
  readonly weight?: string;
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
  text: string,
): { readonly mask: MaskHook; readonly batches: boolean; readonly heads: boolean } {
  const { call, variables } = compiled("mask", text, PLACE, "bool");
  return {
    mask: (at) => Boolean(call(at)),
    batches: variables.includes("b"),
    heads: variables.includes("h"),
  };
}

/** A score for the oracle. */
export function scoreOf(text: string): ScoreHook {
  const { call } = compiled("score", text, { s: "f32", ...PLACE }, "f32");
  return (s, at) => Number(call({ s, ...at }));
}

function weightOf(text: string): AttentionWeight {
  if (Object.hasOwn(WEIGHTS, text)) return text as keyof typeof WEIGHTS;
  const { call } = compiled("weight", text, { s: "f32" }, "f32");
  return { weight: (s) => Number(call({ s })), normalize: true };
}

function compiled(
  name: string,
  text: string,
  variables: Readonly<Record<string, HookType>>,
  result: HookType,
): HookFunction {
  return hookFunction(text, { name, variables, inputs: {}, result });
}
