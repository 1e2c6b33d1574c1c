import { BIT_FUNCTIONS } from "./bits.ts";
import type { Class, Type, Value } from "./types.ts";

/** A function that hooks may call. */
export interface Builtin {
  /** Class of the one type that its operands have, and its value. */
  readonly takes: Class;
  /** How many operands it has; `select` has a bool besides. */
  readonly operands: number;
  /** Its name in the shader, where that is another. */
  readonly emitted?: string;
  /** Two operands of which the first must be less, or at most equal, if both are constants. */
  readonly ordered?: { readonly low: number; readonly high: number; readonly equal: boolean };
  /** Its value on constants, unrounded. */
  readonly fold: (operands: readonly Value[], type: Type) => Value;
}

type Numeric = number | bigint;

function float(evaluate: (...x: number[]) => number): Builtin {
  return {
    takes: "float",
    operands: evaluate.length,
    fold: (operands) => evaluate(...operands.map(Number)),
  };
}

function own(name: string, evaluate: (x: number) => number): Builtin {
  return { ...float(evaluate), emitted: `hook_${name}` };
}

function numeric(takes: Class, evaluate: (...x: Numeric[]) => Numeric): Builtin {
  return {
    takes,
    operands: evaluate.length,
    fold: (operands) => evaluate(...operands as Numeric[]),
  };
}

const atLeast = (x: Numeric, y: Numeric): Numeric => x < y ? y : x;
const atMost = (x: Numeric, y: Numeric): Numeric => y < x ? y : x;
const clamp = (x: Numeric, low: Numeric, high: Numeric): Numeric => atMost(atLeast(x, low), high);
const saturate = (x: number): number => Math.min(Math.max(x, 0), 1);

/** To the nearest whole number, a half to the even one. */
function roundEven(x: number): number {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

function smoothstep(low: number, high: number, x: number): number {
  const t = saturate((x - low) / (high - low));
  return t * t * (3 - 2 * t);
}

/** The functions by name. */
export const BUILTINS: Readonly<Record<string, Builtin>> = {
  abs: numeric("number", (x) => x < 0 ? -x : x),
  acos: float((x) => Math.acos(x)),
  acosh: float((x) => Math.acosh(x)),
  asin: float((x) => Math.asin(x)),
  asinh: float((x) => Math.asinh(x)),
  atan: float((x) => Math.atan(x)),
  atan2: float((y, x) => Math.atan2(y, x)),
  atanh: float((x) => Math.atanh(x)),
  ceil: float((x) => Math.ceil(x)),
  clamp: { ...numeric("number", clamp), ordered: { low: 1, high: 2, equal: true } },
  cos: float((x) => Math.cos(x)),
  cosh: float((x) => Math.cosh(x)),
  degrees: float((x) => x * 180 / Math.PI),
  exp: float((x) => Math.exp(x)),
  exp2: float((x) => 2 ** x),
  floor: float((x) => Math.floor(x)),
  fma: float((x, y, z) => x * y + z),
  fract: float((x) => x - Math.floor(x)),
  inverseSqrt: float((x) => 1 / Math.sqrt(x)),
  log: float((x) => Math.log(x)),
  log2: float((x) => Math.log2(x)),
  max: numeric("number", atLeast),
  min: numeric("number", atMost),
  mix: float((x, y, t) => x * (1 - t) + y * t),
  pow: float((x, y) => x ** y),
  radians: float((x) => x * Math.PI / 180),
  round: float(roundEven),
  saturate: float(saturate),
  select: { takes: "scalar", operands: 2, fold: ([f, t, condition]) => condition ? t : f },
  sigmoid: own("sigmoid", (x) => 1 / (1 + Math.exp(-x))),
  sign: numeric(
    "signed",
    (x) => typeof x === "number" ? Math.sign(x) : BigInt(Math.sign(Number(x))),
  ),
  silu: own("silu", (x) => x / (1 + Math.exp(-x))),
  sin: float((x) => Math.sin(x)),
  sinh: float((x) => Math.sinh(x)),
  smoothstep: { ...float(smoothstep), ordered: { low: 0, high: 1, equal: false } },
  softplus: own("softplus", (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  sqrt: float((x) => Math.sqrt(x)),
  step: float((edge, x) => edge <= x ? 1 : 0),
  tan: float((x) => Math.tan(x)),
  tanh: own("tanh", (x) => Math.tanh(x)),
  trunc: float((x) => Math.trunc(x)),
  ...BIT_FUNCTIONS,
};
