import { typedCast, typedFunction, typedRead } from "./calls.ts";
import { alike, constantOf, converted } from "./convert.ts";
import { hookError, type HookText } from "./error.ts";
import { foldBinary, foldUnary, held } from "./fold.ts";
import { readLiteral } from "./literal.ts";
import { BINARY, UNARY } from "./operators.ts";
import { Scope } from "./scope.ts";
import type { Expression, HookSyntax } from "./syntax.ts";
import type { HookSignature } from "./signature.ts";
import type { Typed, TypedHook } from "./typed.ts";
import { concreteOf, isAbstract, isScalarType } from "./types.ts";

type Written<K extends Expression["kind"]> = Extract<Expression, { readonly kind: K }>;

/** Gives every expression of a hook its type by WGSL's rules, and folds constants. */
export class Checker {
  /** What the hook names. */
  readonly scope: Scope;
  readonly #text: HookText;
  readonly #signature: HookSignature;

  /** Checks against a signature. */
  constructor(text: HookText, signature: HookSignature) {
    this.#text = text;
    this.#signature = signature;
    this.scope = new Scope(text, signature);
  }

  /** Types a whole hook. */
  check({ lets, result }: HookSyntax): TypedHook {
    const { name, result: wanted } = this.#signature;
    const typedLets = lets.map((statement) => {
      const value = this.#typed(statement.value);
      const type = statement.type ?? concreteOf(value.type, "scalar") ?? "f32";
      const concrete = converted(this.#text, value, type, statement.name);
      return { name: this.scope.declare(statement, type), value: concrete };
    });
    const value = converted(this.#text, this.#typed(result), wanted, `the ${name}`);
    return { lets: typedLets, result: value };
  }

  #typed(written: Expression): Typed {
    switch (written.kind) {
      case "literal":
        return this.#literal(written);
      case "name":
        return { written, kind: "name", ...this.scope.value(written.name, written.at) };
      case "unary":
        return this.#unary(written);
      case "binary":
        return BINARY[written.operator].group === "shift"
          ? this.#shift(written)
          : this.#binary(written);
      case "call":
        return this.#call(written);
    }
  }

  #literal(written: Written<"literal">): Typed {
    const { text, at } = written;
    const literal = readLiteral(text);
    if (literal === null) {
      const rule = `"${text}" must be a number such as 1, 1u, 0x1f, 1.5 or 1e-3`;
      throw hookError(this.#text, at, rule);
    }
    const { type, value } = literal;
    return constantOf(this.#text, written, type, held(value, type));
  }

  #unary(written: Written<"unary">): Typed {
    const { operator, at } = written;
    const given = [this.#typed(written.operand)];
    const [operand] = alike(this.#text, given, UNARY[operator], { user: operator, at });
    const { type } = operand;
    if (operand.kind === "constant") {
      return constantOf(this.#text, written, type, foldUnary(operator, operand.value));
    }
    return { written, kind: "unary", type, operator, operand };
  }

  #binary(written: Written<"binary">): Typed {
    const { operator, operatorAt: at } = written;
    const { takes, compares } = BINARY[operator];
    const given = [this.#typed(written.left), this.#typed(written.right)];
    const [left, right] = alike(this.#text, given, takes, { user: operator, at });
    if ("/%".includes(operator) && right.kind === "constant" && Number(right.value) === 0) {
      throw hookError(this.#text, right.written.at, "a divisor must not be 0");
    }
    const type = compares ? "bool" : left.type;
    return this.#folded({ written, kind: "binary", type, operator, left, right });
  }

  #shift(written: Written<"binary">): Typed {
    const { operator, operatorAt: at } = written;
    const given = [this.#typed(written.left)];
    const [shifted] = alike(this.#text, given, "integer", { user: operator, at });
    const what = `what ${operator} shifts by`;
    const right = converted(this.#text, this.#typed(written.right), "u32", what);
    const left = right.kind === "constant"
      ? shifted
      : converted(this.#text, shifted, concreteOf(shifted.type, "integer") ?? "i32", operator);
    const bits = isAbstract(left.type) ? 64 : 32;
    if (right.kind === "constant" && Number(right.value) >= bits) {
      throw hookError(this.#text, right.written.at, `${what} must be < ${bits}`);
    }
    return this.#folded({ written, kind: "binary", type: left.type, operator, left, right });
  }

  #folded(binary: Extract<Typed, { readonly kind: "binary" }>): Typed {
    const { written, type, operator, left, right } = binary;
    if (left.kind !== "constant" || right.kind !== "constant") return binary;
    const value = foldBinary(operator, left.value, right.value);
    // sums and products of integers wrap; these two must fit
    const fits = operator === "<<" || operator === "/" ? held(value, type) : value;
    return constantOf(this.#text, written, type, fits);
  }

  #call(written: Written<"call">): Typed {
    const { name, at } = written;
    const input = this.scope.called(name, at);
    const operands = written.operands.map((operand) => this.#typed(operand));
    if (input !== null) return typedRead(this.#text, written, input, operands);
    return isScalarType(name)
      ? typedCast(this.#text, written, name, operands)
      : typedFunction(this.#text, written, operands);
  }
}
