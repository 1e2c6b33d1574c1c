import { BUILTINS } from "../kernels/hooks/builtins.ts";
import type { HookType } from "../kernels/hooks/signature.ts";

/** A value that hooks work on; integers are numbers in the range of their type. */
export type Scalar = number | boolean;

type Binary = (x: number, y: number) => Scalar;

/** What any two values have. */
const SHARED: Readonly<Record<string, Binary>> = {
  "<": (x, y) => x < y,
  "<=": (x, y) => x <= y,
  ">": (x, y) => x > y,
  ">=": (x, y) => x >= y,
  "==": (x, y) => x === y,
  "!=": (x, y) => x !== y,
};

const SIGNED: Readonly<Record<string, Binary>> = {
  ...SHARED,
  "+": (x, y) => (x + y) | 0,
  "-": (x, y) => (x - y) | 0,
  "*": Math.imul,
  // WGSL: what cannot be divided stays, and leaves nothing
  "/": (x, y) => y === 0 ? x : (x / y) | 0,
  "%": (x, y) => y === 0 ? 0 : (x % y) | 0,
  "<<": (x, y) => x << y,
  ">>": (x, y) => x >> y,
  "&": (x, y) => x & y,
  "|": (x, y) => x | y,
  "^": (x, y) => x ^ y,
};

const UNSIGNED: Readonly<Record<string, Binary>> = {
  ...SHARED,
  "+": (x, y) => (x + y) >>> 0,
  "-": (x, y) => (x - y) >>> 0,
  "*": (x, y) => Math.imul(x, y) >>> 0,
  "/": (x, y) => y === 0 ? x : Math.trunc(x / y),
  "%": (x, y) => y === 0 ? 0 : x % y,
  "<<": (x, y) => (x << y) >>> 0,
  ">>": (x, y) => x >>> y,
  "&": (x, y) => (x & y) >>> 0,
  "|": (x, y) => (x | y) >>> 0,
  "^": (x, y) => (x ^ y) >>> 0,
};

/** Operators between two operands of a type; `&&` and `||` do not evaluate both. */
const OPERATORS: Readonly<Record<HookType, Readonly<Record<string, Binary>>>> = {
  f32: {
    ...SHARED,
    "+": (x, y) => x + y,
    "-": (x, y) => x - y,
    "*": (x, y) => x * y,
    "/": (x, y) => x / y,
    "%": (x, y) => x % y,
  },
  i32: SIGNED,
  u32: UNSIGNED,
  bool: { ...SHARED, "&": (x, y) => Boolean(x && y), "|": (x, y) => Boolean(x || y) },
};

/** A value as a type holds it: integers wrap. */
export function wrapped(value: number, type: HookType): number {
  if (type === "i32") return value | 0;
  return type === "u32" ? value >>> 0 : value;
}

/** The operator between two values of a type. */
export function binaryOf(operator: string, type: HookType): (x: Scalar, y: Scalar) => Scalar {
  return OPERATORS[type][operator] as (x: Scalar, y: Scalar) => Scalar;
}

/** The operator before a value of a type. */
export function unaryOf(operator: string, type: HookType): (x: Scalar) => Scalar {
  if (operator === "!") return (x) => !x;
  if (operator === "~") return (x) => wrapped(~Number(x), type);
  return (x) => wrapped(-Number(x), type);
}

/** A cast, as WGSL does it: floats are cut and clamped, integers wrap. */
export function castOf(from: HookType, to: HookType): (x: Scalar) => Scalar {
  if (to === "bool") return (x) => Number(x) !== 0;
  if (to === "f32") return Number;
  if (from !== "f32") return (x) => wrapped(Number(x), to);
  // the last f32 in the range
  const [low, high] = to === "u32" ? [0, 2 ** 32 - 2 ** 8] : [-(2 ** 31), 2 ** 31 - 2 ** 7];
  return (x) => wrapped(Math.trunc(Math.min(Math.max(Number(x), low), high)), to);
}

/** A function by its name in hooks, with a value of a type. */
export function builtinOf(name: string, type: HookType): (operands: readonly Scalar[]) => Scalar {
  const { takes, fold } = BUILTINS[name];
  if (takes === "integer") {
    return ([x]) => wrapped(Number(fold([BigInt(x)], type)), type);
  }
  return (operands) => {
    const value = fold(operands, type) as Scalar;
    return typeof value === "number" ? wrapped(value, type) : value;
  };
}
