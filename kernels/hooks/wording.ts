import type { HookText } from "./error.ts";
import type { HookType } from "./signature.ts";
import type { Expression } from "./syntax.ts";
import type { Typed } from "./typed.ts";
import { concreteOf, converts, isAbstract } from "./types.ts";

const LONGEST = 40;

/** Of two types, the one that both are cast to. */
const CAST_ORDER = ["f32", "i32", "u32"] as const;

/** What the user wrote, on one line and not too long. */
export function quote({ source }: HookText, { at, end }: Pick<Expression, "at" | "end">): string {
  const text = source.slice(at, end).replaceAll(/\s+/g, " ");
  const characters = [...text];
  return characters.length <= LONGEST ? text : `${characters.slice(0, LONGEST - 3).join("")}...`;
}

/** An expression and its type, for example "i is i32" or "0.5 is a float". */
export function describe(text: HookText, { written, type }: Typed): string {
  const called = type === "AbstractInt"
    ? "an integer"
    : type === "AbstractFloat"
    ? "a float"
    : type;
  return `${quote(text, written)} is ${called}`;
}

/** The cast that makes a type of an expression, as the user would write it. */
export function castOf(text: HookText, { written }: Typed, type: HookType): string {
  const { at, end, parenthesised } = written;
  const inner = parenthesised ? { at: at + 1, end: end - 1 } : { at, end };
  return `write ${type}(${quote(text, inner).trim()})`;
}

/** What to say of operands that have no type in common. */
export function mismatch(text: HookText, operands: readonly Typed[]): string {
  const { type: first } = operands.find(({ type }) => !isAbstract(type)) ?? operands[0];
  const other = operands.find(({ type }) => !converts(type, first)) ?? operands[0];
  const pair = operands.filter((operand) => operand === other || operand.type === first);
  const wanted =
    CAST_ORDER.find((type) =>
      pair.some((operand) => concreteOf(operand.type, "scalar") === type)
    ) ?? "f32";
  const wrong = pair.find((operand) => !converts(operand.type, wanted)) ?? other;
  const described = pair.slice(0, 2).map((operand) => describe(text, operand)).join(" and ");
  return `${described}: ${castOf(text, wrong, wanted)}`;
}

/** `i0, i1` for messages: as many indices as a rank has. */
export function indices(rank: number): string {
  return Array.from({ length: rank }, (_, axis) => rank === 1 ? "i" : `i${axis}`).join(", ");
}
