export type { AttentionHook, HookInputs, HookSource } from "../attention/hooks.ts";
export { either } from "./either.ts";
export { causal, documentMask, prefixLm } from "./masks.ts";
export type { PlacedOptions } from "./place.ts";
export { alibi, type AlibiOptions, relativeBias, softcap, temperature } from "./scores.ts";
export {
  everyNthBlock,
  type EveryNthBlockOptions,
  stridedHeads,
  type StridedHeadsOptions,
  verticalSlash,
} from "./sparse.ts";
export {
  dilatedWindow,
  type DilatedWindowOptions,
  headWindow,
  sinkWindow,
  type SinkWindowOptions,
  slidingWindow,
} from "./windows.ts";
