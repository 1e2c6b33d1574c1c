import type { HookType } from "./signature.ts";

/** A hook's type, or that of a constant which may still become one of several. */
export type Type = HookType | "AbstractInt" | "AbstractFloat";

/** Value of a constant: floats are numbers, integers are bigints. */
export type Value = number | bigint | boolean;

/** Sets of types that operators and functions take. */
export type Class = "float" | "signed" | "integer" | "number" | "bits" | "bool" | "scalar";

/** Types of a class, and what it is called. */
interface ClassOf {
  readonly types: readonly HookType[];
  readonly called: string;
}

/** The classes; the first type is what to cast to. */
export const CLASSES: Readonly<Record<Class, ClassOf>> = {
  float: { types: ["f32"], called: "f32" },
  signed: { types: ["i32", "f32"], called: "f32 or i32" },
  integer: { types: ["i32", "u32"], called: "i32 or u32" },
  number: { types: ["f32", "i32", "u32"], called: "numbers" },
  bits: { types: ["i32", "u32", "bool"], called: "i32, u32 or bool" },
  bool: { types: ["bool"], called: "bool" },
  scalar: { types: ["f32", "i32", "u32", "bool"], called: "scalars" },
};

/** Concrete types that a type converts to by itself, the preferred one first. */
const BECOMES: Readonly<Record<Type, readonly HookType[]>> = {
  AbstractInt: ["i32", "u32", "f32"],
  AbstractFloat: ["f32"],
  f32: ["f32"],
  i32: ["i32"],
  u32: ["u32"],
  bool: ["bool"],
};

/** Whether a word names a type that hooks have. */
export function isScalarType(word: string): word is HookType {
  return CLASSES.scalar.types.some((type) => type === word);
}

/** Whether a type waits for its use. */
export function isAbstract(type: Type): type is "AbstractInt" | "AbstractFloat" {
  return type === "AbstractInt" || type === "AbstractFloat";
}

/** Whether a type converts to another by itself. */
export function converts(from: Type, to: Type): boolean {
  if (to === "AbstractFloat") return isAbstract(from);
  return from === to || BECOMES[from].some((type) => type === to);
}

/** The type of a class that a type becomes if nothing else is said; null if there is none. */
export function concreteOf(type: Type, group: Class): HookType | null {
  return BECOMES[type].find((candidate) => CLASSES[group].types.includes(candidate)) ?? null;
}

/** The one type that all convert to; null if there is none. */
export function commonType(types: readonly Type[]): Type | null {
  const common = types.find((type) => !isAbstract(type)) ??
    types.find((type) => type === "AbstractFloat") ?? types[0];
  return types.every((type) => converts(type, common)) ? common : null;
}

/** What a value of a type must be, for messages. */
export function rangeOf(type: Type): string {
  if (type === "f32") return "finite in f32";
  if (type === "AbstractFloat") return "finite";
  return type === "AbstractInt" ? "an integer of 64 bits" : `in the range of ${type}`;
}
