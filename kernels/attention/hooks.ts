import type { Binding, ParamType } from "../../gpu/program.ts";

/** A named tensor that hooks read, as far as it is compiled. */
export interface HookTensorConfig {
  /** What hooks call it. */
  readonly name: string;
  /** What a call returns. */
  readonly type: "f32" | "i32" | "u32";
  /** Whether two f16 share a word. */
  readonly packed: boolean;
  /** Its axes, and arguments of a call. */
  readonly rank: number;
}

/** What users write of attention, parsed: bodies of WGSL functions, and what they read. */
export interface HooksConfig {
  /** Of `(s, b, h, i, j) -> f32`: each changes the scores that the one before leaves. */
  readonly scores: readonly string[];
  /** Of `(b, h, i, j) -> bool`: a key must pass all of them. */
  readonly masks: readonly string[];
  readonly tensors: readonly HookTensorConfig[];
  /** Names of f32 that are parameters. */
  readonly numbers: readonly string[];
}

/** No hooks. */
export const NO_HOOKS: HooksConfig = { scores: [], masks: [], tensors: [], numbers: [] };

/** WGSL, bindings and parameters of hooks. */
export interface HooksCode {
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, ParamType>>;
  readonly code: string;
}

/** The binding of the n-th tensor, and a parameter of it or of the n-th number. */
export const hookBinding = (n: number): string => `hookTensor${n}`;
export const hookSize = (n: number, axis: number): string => `hookSize${n}Axis${axis}`;
export const hookNumber = (n: number): string => `hookNumber${n}`;

/** Declares what hooks read, and makes `hook_score(s, b, h, i, j)` and `hook_mask(b, h, i, j)`. */
export function hooksCode({ scores, masks, tensors, numbers }: HooksConfig): HooksCode {
  const sizes = tensors.flatMap(({ rank }, n) =>
    Array.from({ length: rank }, (_, axis) => [hookSize(n, axis), "u32"] as const)
  );
  const given = numbers.map((_, n) => [hookNumber(n), "f32"] as const);
  // behind calls, for a number may be called params
  const lets = numbers.map((name, n) => `  let ${name} = hook_number${n}();\n`).join("");
  const own = [
    ...scores.map((body, n) => `fn hook_score${n}(s: f32, ${PLACE}) -> f32 {\n${lets}${body}\n}`),
    ...masks.map((body, n) => `fn hook_mask${n}(${PLACE}) -> bool {\n${lets}${body}\n}`),
  ];
  const score = scores.reduce((s, _, n) => `hook_score${n}(${s}, b, h, i, j)`, "s");
  const mask = masks.map((_, n) => `hook_mask${n}(b, h, i, j)`).join(" && ");
  return {
    bindings: tensors.map(({ type, packed }, n) => ({
      ...{ name: hookBinding(n), access: "read" },
      type: `array<${packed ? "u32" : type}>`,
    })),
    params: Object.fromEntries<ParamType>([...sizes, ...given]),
    code: [
      ...tensors.map(accessor),
      ...numbers.map((_, n) => `fn hook_number${n}() -> f32 { return params.hook_number${n}; }`),
      ...own,
      ...(scores.length === 0
        ? []
        : [`fn hook_score(s: f32, ${PLACE}) -> f32 { return ${score}; }`]),
      ...(masks.length === 0 ? [] : [`fn hook_mask(${PLACE}) -> bool { return ${mask}; }`]),
    ].join("\n"),
  };
}

/** Batch entry, query head, query and key. */
const PLACE = "b: i32, h: i32, i: i32, j: i32";

/** A tensor by indices, each of which is clamped to its axis. */
function accessor({ name, type, packed, rank }: HookTensorConfig, n: number): string {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const terms = axes.map((axis) => {
    const size = `params.hook_size${n}_axis${axis}`;
    const inner = axes.slice(axis + 1).map((later) => ` * params.hook_size${n}_axis${later}`);
    return `u32(clamp(x${axis}, 0, i32(${size}) - 1))${inner.join("")}`;
  });
  const element = packed
    ? `unpack2x16float(hook_tensor${n}[at >> 1u])[at & 1u]`
    : `hook_tensor${n}[at]`;
  return `fn hook_input_${name}(${axes.map((axis) => `x${axis}: i32`).join(", ")}) -> ${type} {
  let at = ${terms.join(" + ") || "0u"};
  return ${element};
}`;
}
