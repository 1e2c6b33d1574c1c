import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { nearest } from "../../gpu/nearest.ts";
import { Tensor } from "../../gpu/tensor.ts";
import {
  hookBinding,
  hookNumber,
  type HooksConfig,
  hookSize,
  type HookTensorConfig,
} from "../../kernels/attention/hooks.ts";
import { type WeightConfig, type WeightName, WEIGHTS } from "../../kernels/attention/weights.ts";
import { checkInputName, type Hook, type HookType, parseHook } from "../../kernels/hooks/hook.ts";

/** What hooks read, by the names that they have for it: tensors by index, numbers as f32. */
export type HookInputs = Readonly<Record<string, Tensor | number>>;

/** A WGSL expression and what it reads beside its variables. */
export interface HookSource {
  /**
   * `let` statements, if any, then an expression, in WGSL's scalars. Variables are `s` (a score,
   * natural) and the integers `b` (batch entry), `h` (query head), `i` (query) and `j` (key).
   */
  readonly code: string;
  /**
   * Tensors, read as `table(h, i - j)`, one index an axis, each clamped to its axis; and numbers.
   *
   * @default {{}}
   */
  readonly inputs?: HookInputs;
}

/** A hook: its text alone where it reads nothing, or reads the `inputs` of the call. */
export type AttentionHook = string | HookSource;

/** A weight function of one's own. */
export interface WeightSource {
  /** w(s), an expression of `s`; masked keys weigh 0 whatever it gives. */
  readonly code: string;
  /**
   * Whether weights are divided by their sum.
   *
   * @default {true}
   */
  readonly normalize?: boolean;
}

/** Programmable parts of attention. */
export interface HookOptions {
  /** Changes scores, after scale, softcap and bias and before masks: `"s - 0.5 * f32(i - j)"`. */
  score?: AttentionHook | readonly AttentionHook[];
  /** Which keys a query sees, beside `causal` and `window`; all of them must hold: `"j <= i"`. */
  mask?: AttentionHook | readonly AttentionHook[];
  /**
   * How scores become weights: a name, or an expression of `s`, whose values are divided by their sum
   * unless `normalize` is false.
   * Weights but those of softmax are not shifted: a row whose weights all round to 0 in f32 is 0.
   *
   * @default {"softmax"}
   */
  weight?: WeightName | (string & Record<never, never>) | WeightSource;
  /** What the hooks of this call read; see {@linkcode HookSource}. */
  inputs?: HookInputs;
}

/** Hooks of a call, parsed, and what they read. */
export interface CheckedHooks {
  readonly hooks: HooksConfig;
  readonly weight: WeightConfig;
  readonly tensors: readonly Tensor[];
  readonly numbers: readonly number[];
  /** The variables that masks read: `"b"` and `"h"` make them differ by batch entry and head. */
  readonly maskReads: readonly string[];
}

const PLACE = { b: "i32", h: "i32", i: "i32", j: "i32" } as const;

/** Names of the options of hooks. */
export const HOOK_OPTIONS: readonly (keyof HookOptions)[] = ["score", "mask", "weight", "inputs"];

/** Parses the hooks of a call and gathers what they read. */
export function checkHooks(action: string, options: HookOptions): CheckedHooks {
  const shared = inputsOf(action, options.inputs);
  const scores = sourcesOf(action, "score", options.score, shared);
  const masks = sourcesOf(action, "mask", options.mask, shared);
  const given = gathered(action, [...scores, ...masks].map(({ inputs }) => inputs));
  const parsed = (name: string, { code, inputs }: Required<HookSource>): Hook =>
    parse(name, code, inputs);
  const scoreHooks = scores.map((source) => parsed("score", source));
  const maskHooks = masks.map((source) => parsed("mask", source));
  // what no hook reads is not bound
  const read = new Set([...scoreHooks, ...maskHooks].flatMap(({ inputs, variables }) => [
    ...inputs,
    ...variables,
  ]));
  const used = Object.entries(given).filter(([name]) => read.has(name));
  const tensors = used.filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor);
  const numbers = used.filter((entry): entry is [string, number] => typeof entry[1] === "number");
  return {
    hooks: {
      scores: scoreHooks.map(({ code }) => code),
      masks: maskHooks.map(({ code }) => code),
      tensors: tensors.map(([name, tensor]) => configOf(name, tensor)),
      numbers: numbers.map(([name]) => name),
    },
    weight: checkWeight(action, options.weight),
    tensors: tensors.map(([, tensor]) => tensor),
    numbers: numbers.map(([, number]) => number),
    maskReads: [...new Set(maskHooks.flatMap(({ variables }) => variables))],
  };
}

function sourcesOf(
  action: string,
  name: "score" | "mask",
  given: unknown,
  shared: HookInputs,
): Required<HookSource>[] {
  if (given === undefined) return [];
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  return list.map((hook) => {
    if (typeof hook === "string") return { code: hook, inputs: shared };
    if (typeof hook !== "object" || hook === null || hook instanceof Tensor) {
      throw new TypeError(
        `Cannot ${action} as ${name} must be WGSL text, { code, inputs } or an array of them: it is ${
          kindOf(hook)
        }`,
      );
    }
    checkOptionNames(`${action} with a ${name}`, hook, ["code", "inputs"]);
    const { code, inputs } = hook as HookSource;
    return { code, inputs: { ...shared, ...inputsOf(action, inputs) } };
  });
}

function inputsOf(action: string, inputs: unknown = {}): HookInputs {
  const named = typeof inputs === "object" && inputs !== null && !Array.isArray(inputs) &&
    !(inputs instanceof Tensor);
  if (named) return inputs as HookInputs;
  throw new TypeError(
    `Cannot ${action} as inputs must be an object of tensors and numbers by name: inputs is ${
      kindOf(inputs)
    }`,
  );
}

/** All inputs by name; one name means one thing in a call. */
function gathered(action: string, all: readonly HookInputs[]): HookInputs {
  const found = new Map<string, Tensor | number>();
  for (const [name, value] of all.flatMap((inputs) => Object.entries(inputs))) {
    if (!found.has(name)) checkInput(action, name, value);
    else if (found.get(name) !== value) {
      throw new TypeError(
        `Cannot ${action} as an input must be one thing in all hooks of a call: ${name} is two`,
      );
    }
    found.set(name, value);
  }
  return Object.fromEntries(found);
}

function checkInput(action: string, name: string, value: unknown): void {
  checkInputName(name, ["s", ...Object.keys(PLACE)]);
  if (value instanceof Tensor) {
    if (value.shape.length > 0 && value.size > 0) return;
    throw new TypeError(
      `Cannot ${action} as inputs.${name} must have an axis and an element: it is [${value.shape}]`,
    );
  }
  if (typeof value === "number" && Number.isFinite(Math.fround(value))) return;
  throw new TypeError(
    `Cannot ${action} as inputs.${name} must be a Tensor or a finite f32: it is ${kindOf(value)}`,
  );
}

function parse(name: string, code: string, inputs: HookInputs): Hook {
  const named = Object.entries(inputs);
  const numbers = named.filter(([, value]) => typeof value === "number");
  const tensors = named.filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor);
  const variables: Record<string, HookType> = {
    ...(name === "score" && { s: "f32" }),
    ...PLACE,
    ...Object.fromEntries(numbers.map(([number]) => [number, "f32"])),
  };
  return parseHook(code, {
    ...{ name, variables, result: name === "mask" ? "bool" : "f32" },
    inputs: Object.fromEntries(tensors.map(([input, tensor]) => [input, configOf(input, tensor)])),
  });
}

function configOf(name: string, { dtype, shape }: Tensor): HookTensorConfig {
  const type = dtype === "f16" ? "f32" : dtype;
  return { name, type, packed: dtype === "f16", rank: shape.length };
}

function checkWeight(action: string, weight: unknown = "softmax"): WeightConfig {
  if (typeof weight === "string") {
    if (Object.hasOwn(WEIGHTS, weight)) return WEIGHTS[weight as WeightName];
    checkWord(action, weight);
    return ownWeight(weight, true);
  }
  if (typeof weight !== "object" || weight === null || weight instanceof Tensor) {
    throw new TypeError(
      `Cannot ${action} as weight must be ${
        Object.keys(WEIGHTS).join(", ")
      }, WGSL text or { code, normalize }: weight is ${kindOf(weight)}`,
    );
  }
  checkOptionNames(`${action} with a weight`, weight, ["code", "normalize"]);
  const { code, normalize = true } = weight as WeightSource;
  if (typeof normalize !== "boolean") {
    throw new TypeError(
      `Cannot ${action} as weight.normalize must be true or false: it is ${kindOf(normalize)}`,
    );
  }
  return ownWeight(code, normalize);
}

/** Refuses words but `s`: a name that was misspelt. */
function checkWord(action: string, weight: string): void {
  if (weight === "s" || !/^[A-Za-z_]\w*$/.test(weight)) return;
  const names = Object.keys(WEIGHTS);
  throw new RangeError(
    `Cannot ${action} as weight must be one of ${
      names.join(", ")
    }, or WGSL text: "${weight}" is not, the nearest is "${nearest(weight, names)}"`,
  );
}

function ownWeight(code: string, normalize: boolean): WeightConfig {
  const hook = parseHook(code, {
    ...{ name: "weight", variables: { s: "f32" }, inputs: {}, result: "f32" },
  });
  return { rule: normalize ? "sum" : "plain", body: hook.code, binary: false };
}

/** The hooks of a call, and masks that were parsed before; one name means one thing. */
export function joinedHooks(
  action: string,
  own: CheckedHooks,
  masks: CheckedHooks,
): CheckedHooks {
  const byName = ({ hooks, tensors, numbers }: CheckedHooks): HookInputs =>
    Object.fromEntries([
      ...hooks.tensors.map(({ name }, n) => [name, tensors[n]] as const),
      ...hooks.numbers.map((name, n) => [name, numbers[n]] as const),
    ]);
  gathered(action, [byName(own), byName(masks)]);
  const fresh = <T>(names: readonly string[], known: readonly string[], list: readonly T[]): T[] =>
    list.filter((_, n) => !known.includes(names[n]));
  const [names, known] = [masks, own].map(({ hooks }) => hooks.tensors.map(({ name }) => name));
  const numbers = [masks.hooks.numbers, own.hooks.numbers] as const;
  return {
    hooks: {
      scores: own.hooks.scores,
      masks: [...own.hooks.masks, ...masks.hooks.masks],
      tensors: [...own.hooks.tensors, ...fresh(names, known, masks.hooks.tensors)],
      numbers: [...own.hooks.numbers, ...fresh(...numbers, masks.hooks.numbers)],
    },
    weight: own.weight,
    tensors: [...own.tensors, ...fresh(names, known, masks.tensors)],
    numbers: [...own.numbers, ...fresh(...numbers, masks.numbers)],
    maskReads: [...new Set([...own.maskReads, ...masks.maskReads])],
  };
}

/** The tensors that hooks read, by their names in messages. */
export function hookTensors({ hooks, tensors }: CheckedHooks): Record<string, Tensor> {
  return Object.fromEntries(
    tensors.map((tensor, n) => [`inputs.${hooks.tensors[n].name}`, tensor]),
  );
}

/** What there is where there are no hooks. */
export const NO_INPUTS: Pick<CheckedHooks, "tensors" | "numbers"> = { tensors: [], numbers: [] };

/** What a launch binds of hooks, by name. */
export function hookResources(
  { tensors }: Pick<CheckedHooks, "tensors">,
): Record<string, { buffer: GPUBuffer }> {
  return Object.fromEntries(tensors.map(({ buffer }, n) => [hookBinding(n), { buffer }]));
}

/** The parameters of hooks. */
export function hookParams(
  { tensors, numbers }: Pick<CheckedHooks, "tensors" | "numbers">,
): Record<string, number> {
  const sizes = tensors.flatMap(({ shape }, n) =>
    shape.map((size, axis) => [hookSize(n, axis), size] as const)
  );
  return Object.fromEntries([...sizes, ...numbers.map((x, n) => [hookNumber(n), x] as const)]);
}
