import type { Type, Value } from "./types.ts";

/** A constant: a type and a value of it. */
export interface Constant {
  readonly type: Type;
  readonly value: Value;
}

const SUFFIXES: Readonly<Record<string, Type>> = { i: "i32", u: "u32", f: "f32" };
const INTEGER = /^(0[xX][0-9a-fA-F]+|0|[1-9]\d*)([iu]?)$/;
const FLOAT = /^((?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|(?:0|[1-9]\d*)(?=f))(f?)$/;

/** What a literal means, whether or not its type holds it; null where it is none. */
export function readLiteral(text: string): Constant | null {
  if (text === "true" || text === "false") return { type: "bool", value: text === "true" };
  const integer = INTEGER.exec(text);
  if (integer !== null) {
    return { type: SUFFIXES[integer[2]] ?? "AbstractInt", value: BigInt(integer[1]) };
  }
  const float = FLOAT.exec(text);
  if (float === null) return null;
  return { type: SUFFIXES[float[2]] ?? "AbstractFloat", value: Number(float[1]) };
}
