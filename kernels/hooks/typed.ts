import type { Expression } from "./syntax.ts";
import type { Type, Value } from "./types.ts";

/** An expression whose type is known; constants are folded. */
export type Typed =
  & {
    /** What the user wrote. */
    readonly written: Expression;
    readonly type: Type;
  }
  & (
    | { readonly kind: "constant"; readonly value: Value }
    | { readonly kind: "name"; readonly name: string }
    | { readonly kind: "unary"; readonly operator: string; readonly operand: Typed }
    | {
      readonly kind: "binary";
      readonly operator: string;
      readonly left: Typed;
      readonly right: Typed;
    }
    | { readonly kind: "call"; readonly name: string; readonly operands: readonly Typed[] }
  );

/** A hook whose types are known. */
export interface TypedHook {
  /** Names as the shader has them. */
  readonly lets: readonly { readonly name: string; readonly value: Typed }[];
  readonly result: Typed;
}
