import { hookError, type HookText } from "./error.ts";
import { held, rounded } from "./fold.ts";
import type { HookType } from "./signature.ts";
import type { Expression } from "./syntax.ts";
import type { Typed } from "./typed.ts";
import {
  type Class,
  CLASSES,
  commonType,
  concreteOf,
  converts,
  rangeOf,
  type Type,
  type Value,
} from "./types.ts";
import { castOf, describe, mismatch, quote } from "./wording.ts";

/** A constant of a type, unless its value is null or none of that type. */
export function constantOf(
  text: HookText,
  written: Expression,
  type: Type,
  value: Value | null,
): Typed {
  const kept = value === null ? null : rounded(value, type);
  if (kept !== null) return { written, kind: "constant", type, value: kept };
  throw hookError(text, written.at, `${quote(text, written)} must be ${rangeOf(type)}`);
}

/** An expression as a type, to which it must convert by itself; `what` says what it is for. */
export function converted(text: HookText, operand: Typed, type: HookType, what: string): Typed {
  if (converts(operand.type, type)) return retyped(text, operand, type);
  const fault = `${describe(text, operand)}: ${castOf(text, operand, type)}`;
  throw hookError(text, operand.written.at, `${what} must be ${type}, ${fault}`);
}

/** Operands of `user` as their common type, which must be of a class; `at` is where to point. */
export function alike(
  text: HookText,
  operands: readonly Typed[],
  takes: Class,
  { user, at }: { readonly user: string; readonly at: number },
): Typed[] {
  const { types, called } = CLASSES[takes];
  for (const operand of operands) {
    if (concreteOf(operand.type, takes) !== null) continue;
    const fault = `${describe(text, operand)}: ${castOf(text, operand, types[0])}`;
    throw hookError(text, operand.written.at, `${user} takes ${called}, ${fault}`);
  }
  const common = commonType(operands.map((operand) => operand.type));
  if (common === null) {
    throw hookError(text, at, `${user} takes operands of one type, ${mismatch(text, operands)}`);
  }
  const type = takes === "float" && common === "AbstractInt" ? "AbstractFloat" : common;
  return operands.map((operand) => retyped(text, operand, type));
}

function retyped(text: HookText, operand: Typed, type: Type): Typed {
  if (operand.type === type || operand.kind !== "constant") return operand;
  return constantOf(text, operand.written, type, held(operand.value, type));
}
