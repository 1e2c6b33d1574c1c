import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { AttentionHook, HookSource } from "../attention/hooks.ts";

const ACTION = "make the mask either";

/**
 * Keys that at least one of several masks leaves. All of them must hold where masks are an array.
 *
 * @param masks masks that are single expressions, without `let`
 * @returns a mask
 * @throws TypeError if a mask does not fit, or a name means two things
 *
 * @example A window, and the first keys
 * ```ts
 * import { either, slidingWindow } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * const mask = either(slidingWindow(8, 0), "j < 4");
 * assertEquals(mask.code, "(i - j <= 8 && j - i <= 0\n) || (j < 4\n)");
 * ```
 */
export function either(...masks: readonly AttentionHook[]): HookSource {
  if (masks.length === 0) {
    throw new TypeError(`Cannot ${ACTION} as there must be a mask: there is none`);
  }
  const inputs: Record<string, Tensor | number> = {};
  const codes = masks.map((mask) => {
    const source = sourceOf(mask);
    for (const [name, value] of Object.entries(source.inputs ?? {})) {
      if (Object.hasOwn(inputs, name) && inputs[name] !== value) {
        throw new TypeError(
          `Cannot ${ACTION} as an input must be one thing in all masks: ${name} is two`,
        );
      }
      inputs[name] = value;
    }
    // a comment may run to the end of the line
    return `(${source.code}\n)`;
  });
  return { code: codes.join(" || "), inputs };
}

function sourceOf(mask: unknown): HookSource {
  const source = typeof mask === "string" ? { code: mask } : mask as Partial<HookSource> | null;
  if (typeof source?.code !== "string" || source instanceof Tensor) {
    throw new TypeError(
      `Cannot ${ACTION} as masks must be WGSL text or { code, inputs }: one is ${kindOf(mask)}`,
    );
  }
  if (/\blet\b|\breturn\b|;/.test(source.code)) {
    throw new TypeError(
      `Cannot ${ACTION} as masks must be single expressions, without let: one is ${
        JSON.stringify(source.code)
      }`,
    );
  }
  return { code: source.code, ...(source.inputs !== undefined && { inputs: source.inputs }) };
}
