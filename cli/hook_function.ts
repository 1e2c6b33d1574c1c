import { Checker } from "../kernels/hooks/check.ts";
import { BUILTINS } from "../kernels/hooks/builtins.ts";
import { parse } from "../kernels/hooks/parse.ts";
import type { HookSignature, HookType } from "../kernels/hooks/signature.ts";
import type { Typed } from "../kernels/hooks/typed.ts";
import { isScalarType } from "../kernels/hooks/types.ts";
import { binaryOf, builtinOf, castOf, type Scalar, unaryOf } from "./hook_arithmetic.ts";

/** Elements of the inputs of a hook, by name. */
export type HookReads = Readonly<Record<string, (...indices: number[]) => number>>;

/** A hook as a function. */
export interface HookFunction {
  /** Variables that it names; it needs no other. */
  readonly variables: readonly string[];
  /** Its value, floats in float64; `values` are those of the variables, by name. */
  call(values: object): Scalar;
}

type Values = Readonly<Record<string, Scalar>>;
type Evaluate = (values: Values) => Scalar;

const INPUT = "hook_input_";

/** Functions by their names in shaders. */
const EMITTED: ReadonlyMap<string, string> = new Map(
  Object.entries(BUILTINS).map(([name, { emitted }]) => [emitted ?? name, name]),
);

/**
 * Turns a hook's text into a function: its meaning in WGSL, but floats are float64. Integers wrap and
 * divisions of them are cut; constants are rounded to f32, as in the shader.
 *
 * @param source `let` statements and one expression
 * @param signature what the hook may name and must be
 * @param reads elements of the inputs of the signature
 * @throws HookError that points into `source`
 *
 * @example A mask
 * ```ts
 * import { hookFunction } from "./hook_function.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const variables = { i: "i32", j: "i32" } as const;
 * const mask = hookFunction("j <= i && (i - j) / 2 < 3", {
 *   ...{ name: "mask", variables, inputs: {}, result: "bool" },
 * });
 *
 * assertEquals([4, 2, 1].map((j) => mask.call({ i: 7, j })), [true, true, false]);
 * ```
 */
export function hookFunction(
  source: string,
  signature: HookSignature,
  reads: HookReads = {},
): HookFunction {
  const text = { name: signature.name, source };
  const checker = new Checker(text, signature);
  const { lets, result } = checker.check(parse(text));
  const statements = lets.map(({ name, value }) => [name, evaluatorOf(value, reads)] as const);
  const value = evaluatorOf(result, reads);
  return {
    variables: [...checker.scope.variables],
    call(values) {
      if (statements.length === 0) return value(values as Values);
      const frame: Record<string, Scalar> = { ...values };
      for (const [name, evaluate] of statements) frame[name] = evaluate(frame);
      return value(frame);
    },
  };
}

function evaluatorOf(typed: Typed, reads: HookReads): Evaluate {
  switch (typed.kind) {
    case "constant": {
      const value = typeof typed.value === "boolean" ? typed.value : Number(typed.value);
      return () => value;
    }
    case "name": {
      const { name } = typed;
      return (values) => values[name];
    }
    case "unary": {
      const operate = unaryOf(typed.operator, concrete(typed.operand));
      const operand = evaluatorOf(typed.operand, reads);
      return (values) => operate(operand(values));
    }
    case "binary":
      return binaryEvaluator(typed, reads);
    case "call":
      return callEvaluator(typed, reads);
  }
}

function binaryEvaluator(
  { operator, left, right }: Extract<Typed, { readonly kind: "binary" }>,
  reads: HookReads,
): Evaluate {
  const [x, y] = [evaluatorOf(left, reads), evaluatorOf(right, reads)];
  if (operator === "&&") return (values) => x(values) && y(values);
  if (operator === "||") return (values) => x(values) || y(values);
  const operate = binaryOf(operator, concrete(left));
  return (values) => operate(x(values), y(values));
}

function callEvaluator(
  { name, type, operands: given }: Extract<Typed, { readonly kind: "call" }>,
  reads: HookReads,
): Evaluate {
  const operands = given.map((operand) => evaluatorOf(operand, reads));
  const [first] = operands;
  if (name.startsWith(INPUT)) {
    const read = reads[name.slice(INPUT.length)];
    return (values) => read(...operands.map((operand) => Number(operand(values))));
  }
  if (isScalarType(name)) {
    const cast = castOf(concrete(given[0]), name);
    return (values) => cast(first(values));
  }
  const call = builtinOf(EMITTED.get(name) ?? name, type as HookType);
  return (values) => call(operands.map((operand) => operand(values)));
}

/** The type of an operand; those of what is not a constant are concrete. */
function concrete({ type }: Typed): HookType {
  return isScalarType(type) ? type : "f32";
}
