import type { Builtin } from "./builtins.ts";

/** A function of the 32 bits of an integer, which it gets as an unsigned number. */
function ofBits(evaluate: (bits: number, signed: boolean) => number): Builtin {
  return {
    takes: "integer",
    operands: 1,
    fold: ([x], type) => BigInt(evaluate(Number(BigInt.asUintN(32, x as bigint)), type === "i32")),
  };
}

function ones(bits: number): number {
  return bits.toString(2).replaceAll("0", "").length;
}

/** Of a negative number, the highest bit that is not its sign. */
function firstLeading(bits: number, signed: boolean): number {
  return 31 - Math.clz32(signed && bits >= 2 ** 31 ? ~bits : bits);
}

/** -1, all bits set, where there is none. */
function firstTrailing(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function reversed(bits: number): number {
  return parseInt([...bits.toString(2).padStart(32, "0")].reverse().join(""), 2);
}

/** Functions of bits, by name. */
export const BIT_FUNCTIONS: Readonly<Record<string, Builtin>> = {
  countLeadingZeros: ofBits((bits) => Math.clz32(bits)),
  countOneBits: ofBits(ones),
  countTrailingZeros: ofBits((bits) => bits === 0 ? 32 : firstTrailing(bits)),
  firstLeadingBit: ofBits(firstLeading),
  firstTrailingBit: ofBits(firstTrailing),
  reverseBits: ofBits(reversed),
};
