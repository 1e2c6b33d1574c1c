import type { HookType } from "./signature.ts";

/** Where an expression stands in the source, and how deep it nests. */
interface Place {
  /** Offset of its first character. */
  readonly at: number;
  /** Offset behind its last character. */
  readonly end: number;
  readonly depth: number;
  /** Whether its first and last characters are parentheses around it. */
  readonly parenthesised: boolean;
}

/** An expression as it is written, before its type is known. */
export type Expression =
  & Place
  & (
    | { readonly kind: "literal"; readonly text: string }
    | { readonly kind: "name"; readonly name: string }
    | {
      readonly kind: "unary";
      readonly operator: string;
      readonly operand: Expression;
    }
    | {
      readonly kind: "binary";
      readonly operator: string;
      /** Offset of the operator. */
      readonly operatorAt: number;
      readonly left: Expression;
      readonly right: Expression;
    }
    | { readonly kind: "call"; readonly name: string; readonly operands: readonly Expression[] }
  );

/** `let name: type = value;` */
export interface Let {
  readonly name: string;
  /** Offset of the name. */
  readonly at: number;
  readonly type: HookType | null;
  readonly value: Expression;
}

/** A hook as it is written. */
export interface HookSyntax {
  readonly lets: readonly Let[];
  readonly result: Expression;
}

/** How deep expressions may nest; compilers have limits too. */
export const MAX_DEPTH = 200;
