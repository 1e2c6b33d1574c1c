import type { Gpu } from "../gpu/device.ts";
import { Tensor } from "../gpu/tensor.ts";
import { type AttentionHook, checkHooks, type HookInputs } from "../ops/attention/hooks.ts";
import type { MaskHook, ScoreHook } from "../reference/mod.ts";
import { type HostHook, maskOf, oneLine, scoreOf } from "./attention_hooks.ts";
import { hostGpu, tableOf } from "./host_gpu.ts";
import { type HookKind, madeHooks, namedHooks } from "./ready_made.ts";

/** Hooks as a picture shows them. */
export interface DrawnHooks {
  /** What the title says of them. */
  readonly titles: readonly string[];
  readonly score?: ScoreHook;
  readonly mask?: MaskHook;
}

/** What a user wrote as a score and as a mask: a text, or JSON with ready-made hooks. */
export type WrittenHooks = Readonly<Partial<Record<HookKind, unknown>>>;

/**
 * Makes hooks that are drawn, which no device computes.
 *
 * @param written what the user wrote
 * @param inputs what texts read
 * @param gpu a device of `hostGpu` with the inputs on it
 * @throws UsageError, HookError, TypeError or RangeError for hooks that `attention` would not take
 */
export function drawnHooks(
  written: WrittenHooks,
  inputs: HookInputs = {},
  gpu: Gpu = hostGpu(),
): DrawnHooks {
  const kinds = (["mask", "score"] as const).filter((kind) => written[kind] !== undefined);
  const hooks: Partial<Record<HookKind, AttentionHook[]>> = Object.fromEntries(
    kinds.map((kind) => [kind, madeHooks(gpu, kind, written[kind])]),
  );
  checkHooks("draw hooks", { ...hooks, inputs });
  const scores = hooks.score?.map((hook) => scoreOf(hostHook(hook, inputs)));
  const masks = hooks.mask?.map((hook) => maskOf(hostHook(hook, inputs)).mask);
  return {
    titles: kinds.map((kind) => `${kind} ${titleOf(written[kind])}`),
    ...(scores && {
      score: (s, at) => scores.reduce((changed, score) => score(changed, at), s),
    }),
    ...(masks && { mask: (at) => masks.every((mask) => mask(at)) }),
  };
}

function hostHook(hook: AttentionHook, shared: HookInputs): HostHook {
  const { code, inputs = {} } = typeof hook === "string" ? { code: hook } : hook;
  return {
    code,
    inputs: Object.fromEntries(
      Object.entries({ ...shared, ...inputs }).map(([name, value]) => [
        name,
        value instanceof Tensor ? tableOf(value) : value,
      ]),
    ),
  };
}

function titleOf(written: unknown): string {
  const named = namedHooks(written);
  if (named === null) {
    return oneLine(typeof written === "string" ? written : (written as { code: string }).code);
  }
  const calls = Object.entries(named).map(([name, values]) =>
    oneLine(`${name}(${JSON.stringify(values).slice(1, -1)})`)
  );
  return calls.join(" and ");
}
