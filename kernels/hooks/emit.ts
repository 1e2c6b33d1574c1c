import type { Typed, TypedHook } from "./typed.ts";
import type { Value } from "./types.ts";

/** The statements of a typed hook as WGSL. */
export function emit({ lets, result }: TypedHook): string {
  const statements = lets.map(({ name, value }) => `let ${name} = ${expression(value)};`);
  return [...statements, `return ${expression(result)};`].join("\n");
}

function expression(typed: Typed): string {
  switch (typed.kind) {
    case "constant":
      return literal(typed.type, typed.value);
    case "name":
      return typed.name;
    case "unary":
      return `${typed.operator}${operand(typed.operand, typed.operand.kind === "unary")}`;
    case "binary":
      return `${operand(typed.left)} ${typed.operator} ${operand(typed.right)}`;
    case "call":
      return `${typed.name}(${separated(typed.operands)})`;
  }
}

function operand(typed: Typed, parenthesised = false): string {
  return parenthesised || typed.kind === "binary" ? `(${expression(typed)})` : expression(typed);
}

/** Between commas, < and > would be the brackets of a template. */
function separated(operands: readonly Typed[]): string {
  const texts = operands.map((typed) =>
    typed.kind === "binary" && operands.length > 1 && /[<>]/.test(typed.operator)
      ? operand(typed)
      : expression(typed)
  );
  return texts.join(", ");
}

/** A constant as WGSL spells it, with the suffix of its type. */
function literal(type: Typed["type"], value: Value): string {
  if (type === "f32") return `${shortest(Number(value))}f`;
  if (type === "u32") return `${value}u`;
  // 2147483648i alone would be out of range.
  return type === "i32" && value === -(2n ** 31n)
    ? "i32(-2147483648)"
    : `${value}${type === "i32" ? "i" : ""}`;
}

/** The fewest digits that round to a number in f32. */
function shortest(value: number): string {
  const digits = Array.from({ length: 9 }, (_, index) => Number(value.toPrecision(index + 1)));
  const text = String(digits.find((rough) => Math.fround(rough) === value) ?? value);
  return /[.e]/.test(text) ? text : `${Object.is(value, -0) ? "-0" : text}.0`;
}
