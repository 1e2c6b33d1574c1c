import type { Type, Value } from "./types.ts";

type Numeric = number | bigint;

const ARITHMETIC: Readonly<Record<string, (x: number, y: number) => number>> = {
  "+": (x, y) => x + y,
  "-": (x, y) => x - y,
  "*": (x, y) => x * y,
  "/": (x, y) => x / y,
  "%": (x, y) => x % y,
};

const INTEGER: Readonly<Record<string, (x: bigint, y: bigint) => bigint>> = {
  "+": (x, y) => x + y,
  "-": (x, y) => x - y,
  "*": (x, y) => x * y,
  "/": (x, y) => x / y,
  "%": (x, y) => x % y,
  "<<": (x, y) => x << y,
  ">>": (x, y) => x >> y,
  "&": (x, y) => x & y,
  "|": (x, y) => x | y,
  "^": (x, y) => x ^ y,
};

const COMPARISON: Readonly<Record<string, (x: Value, y: Value) => boolean>> = {
  "<": (x, y) => x < y,
  "<=": (x, y) => x <= y,
  ">": (x, y) => x > y,
  ">=": (x, y) => x >= y,
  "==": (x, y) => x === y,
  "!=": (x, y) => x !== y,
  "&": (x, y) => Boolean(x && y),
  "|": (x, y) => Boolean(x || y),
  "&&": (x, y) => Boolean(x && y),
  "||": (x, y) => Boolean(x || y),
};

/** Value of an operator between constants of one type, unrounded. */
export function foldBinary(operator: string, x: Value, y: Value): Value {
  if (typeof x === "bigint" && typeof y === "bigint" && Object.hasOwn(INTEGER, operator)) {
    return INTEGER[operator](x, y);
  }
  if (typeof x === "number" && typeof y === "number" && Object.hasOwn(ARITHMETIC, operator)) {
    return ARITHMETIC[operator](x, y);
  }
  return COMPARISON[operator](x, y);
}

/** Value of an operator before a constant, unrounded. */
export function foldUnary(operator: string, x: Value): Value {
  if (operator === "!") return !x;
  if (operator === "~") return ~(x as bigint);
  return -(x as Numeric);
}

/** A computed value as its type holds it: rounded, or wrapped round; null where it cannot. */
export function rounded(value: Value, type: Type): Value | null {
  if (type === "i32") return BigInt.asIntN(32, value as bigint);
  if (type === "u32") return BigInt.asUintN(32, value as bigint);
  return held(value, type);
}

/** A constant as another type holds it, to which it converts by itself; null where it does not fit. */
export function held(value: Value, type: Type): Value | null {
  if (type === "bool") return value;
  if (type === "f32" || type === "AbstractFloat") {
    const float = type === "f32" ? Math.fround(Number(value)) : Number(value);
    return Number.isFinite(float) ? float : null;
  }
  const whole = value as bigint;
  const bits = type === "AbstractInt" ? 64 : 32;
  const fits = type === "u32" ? BigInt.asUintN(bits, whole) : BigInt.asIntN(bits, whole);
  return fits === whole ? whole : null;
}

/** Value of a cast of a constant, as WGSL does it: floats are cut and clamped, integers wrap. */
export function cast(value: Value, type: Type): Value | null {
  if (type === "bool") return Boolean(value);
  if (type === "f32") return held(Number(value), "f32");
  if (typeof value !== "number") return rounded(BigInt(value), type);
  const [low, high] = type === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  return BigInt(Math.trunc(Math.min(Math.max(value, low), high)));
}
