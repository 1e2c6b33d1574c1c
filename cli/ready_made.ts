import type { Gpu } from "../gpu/device.ts";
import { nearest } from "../gpu/nearest.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  alibi,
  type AttentionHook,
  causal,
  dilatedWindow,
  documentMask,
  everyNthBlock,
  headWindow,
  type HookSource,
  prefixLm,
  relativeBias,
  sinkWindow,
  slidingWindow,
  softcap,
  stridedHeads,
  temperature,
  verticalSlash,
} from "../ops/hooks/mod.ts";
import { UsageError } from "./command.ts";

/** What a hook is for. */
export type HookKind = "score" | "mask";

/** A function of the library that makes a hook, and what its arguments are called. */
interface ReadyMade {
  readonly make: (...given: never[]) => HookSource;
  readonly takes: readonly string[];
}

/** Ready-made hooks by their names in the library. */
const READY_MADE: Readonly<Record<HookKind, Readonly<Record<string, ReadyMade>>>> = {
  score: {
    alibi: { make: alibi, takes: ["slopes", "options"] },
    softcap: { make: softcap, takes: ["cap"] },
    temperature: { make: temperature, takes: ["temperatures"] },
    relativeBias: { make: relativeBias, takes: ["table", "options"] },
  },
  mask: {
    causal: { make: causal, takes: ["options"] },
    slidingWindow: { make: slidingWindow, takes: ["left", "right", "options"] },
    prefixLm: { make: prefixLm, takes: ["prefix", "options"] },
    documentMask: { make: documentMask, takes: ["documents", "keyDocuments"] },
    headWindow: { make: headWindow, takes: ["windows", "options"] },
    sinkWindow: { make: sinkWindow, takes: ["options"] },
    dilatedWindow: { make: dilatedWindow, takes: ["options"] },
    stridedHeads: { make: stridedHeads, takes: ["options"] },
    verticalSlash: { make: verticalSlash, takes: ["vertical", "slash"] },
    everyNthBlock: { make: everyNthBlock, takes: ["options"] },
  },
};

/** Whether a text is JSON that names ready-made hooks: no WGSL expression begins so. */
export function namesHooks(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** The ready-made hooks that JSON names, or null where it is something else, `{ code, inputs }` too. */
export function namedHooks(given: unknown): Readonly<Record<string, unknown>> | null {
  const named = typeof given === "object" && given !== null && !Array.isArray(given) &&
    !("code" in given);
  return named ? given as Readonly<Record<string, unknown>> : null;
}

/**
 * Makes the hooks that a user wrote, one or a list: texts stay, `{ "slidingWindow": [3, 0] }` becomes
 * what the library's function of that name makes of those arguments. Arrays of numbers among them are
 * tensors of `gpu`, i32 for masks and f32 for scores.
 *
 * @throws UsageError where a name or its arguments are none; what else is wrong the library throws
 */
export function madeHooks(gpu: Gpu, kind: HookKind, given: unknown): AttentionHook[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  return list.flatMap((hook) => {
    const named = namedHooks(hook);
    if (named === null) return [hook as AttentionHook];
    if (Object.keys(named).length === 0) {
      throw new UsageError(`Cannot make the ${kind} as it must name a hook: it is {}`);
    }
    return Object.entries(named).map(([name, values]) => made(gpu, kind, name, values));
  });
}

/** The options of an operator that takes hooks, with its hooks made. */
export function withHooks<T extends object>(gpu: Gpu, options: T): T {
  const kinds = (["score", "mask"] as const).filter((kind) => kind in options);
  const given = options as Readonly<Record<string, unknown>>;
  return {
    ...options,
    ...Object.fromEntries(kinds.map((kind) => [kind, madeHooks(gpu, kind, given[kind])])),
  };
}

function made(gpu: Gpu, kind: HookKind, name: string, values: unknown): HookSource {
  const known = READY_MADE[kind];
  if (!Object.hasOwn(known, name)) {
    const names = Object.keys(known);
    throw new UsageError(
      `Cannot make the ${kind} as a ready-made one must be ${
        names.join(", ")
      }: "${name}" is not, the nearest is "${nearest(name, names)}"`,
    );
  }
  const { make, takes } = known[name];
  const action = `make the ${kind} ${name}`;
  if (!Array.isArray(values) || values.length > takes.length) {
    throw new UsageError(
      `Cannot ${action} as its arguments must be a list of at most ${takes.length}, [${
        takes.join(", ")
      }]: current value is ${JSON.stringify(values)}`,
    );
  }
  const create = make as (...given: unknown[]) => HookSource;
  return create(...values.map((value) => argumentOf(gpu, kind, action, value)));
}

/** An argument: arrays are tensors, in records of options too. */
function argumentOf(gpu: Gpu, kind: HookKind, action: string, value: unknown): unknown {
  if (Array.isArray(value)) return tensorOf(gpu, kind, action, value);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name, argumentOf(gpu, kind, action, part)]),
  );
}

function tensorOf(gpu: Gpu, kind: HookKind, action: string, value: readonly unknown[]): Tensor {
  const shape = shapeOf(value);
  if (!fills(value, shape)) {
    throw new UsageError(
      `Cannot ${action} as an array must be a rectangle of numbers: current value is ${
        JSON.stringify(value)
      }`,
    );
  }
  const numbers = value.flat(Infinity) as number[];
  if (kind === "score") return gpu.tensor(Float32Array.from(numbers), shape);
  const odd = numbers.find((number) => number !== (number | 0));
  if (odd !== undefined) {
    throw new UsageError(
      `Cannot ${action} as the numbers of an array must be integers of 32 bits: one is ${odd}`,
    );
  }
  return gpu.tensor(Int32Array.from(numbers), shape);
}

/** The shape of nested arrays, by the first element of each. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}

/** Whether nested arrays have a shape throughout. */
function fills(value: unknown, [size, ...rest]: readonly number[]): boolean {
  if (size === undefined) return typeof value === "number";
  return Array.isArray(value) && value.length === size &&
    value.every((part) => fills(part, rest));
}
