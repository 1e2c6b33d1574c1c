import { Cursor } from "./cursor.ts";
import type { HookText } from "./error.ts";
import { BINARY, INSIDE, LOOSENESS, UNARY } from "./operators.ts";
import { type Expression, type HookSyntax, type Let, MAX_DEPTH } from "./syntax.ts";
import type { HookType } from "./signature.ts";
import { refusal } from "./refusals.ts";
import { nameFault } from "./words.ts";
import type { Token } from "./token.ts";
import { isScalarType } from "./types.ts";

type Part = Expression extends infer E ? E extends unknown ? Omit<E, "parenthesised"> : never
  : never;

/** Reads a hook: `let` statements and one expression. */
export function parse(text: HookText): HookSyntax {
  const cursor = new Cursor(text);
  const lets: Let[] = [];
  while (cursor.accept("let") !== null) {
    lets.push(parseLet(cursor));
  }
  cursor.accept("return");
  if (cursor.atEnd()) {
    throw cursor.fault("its last statement must be an expression, the value of the hook");
  }
  const result = new ExpressionParser(cursor).parse();
  const closed = cursor.accept(";");
  if (!cursor.atEnd()) {
    throw closed
      ? cursor.fault("its value must be its last statement, write let before the ones above")
      : unexpected(cursor);
  }
  return { lets, result };
}

function parseLet(cursor: Cursor): Let {
  const name = cursor.take();
  if (name.kind !== "word") throw cursor.fault("a name must come after let", name);
  // what follows would be refused as the word that it cannot be
  if (refusal(name.text) !== null) {
    throw cursor.fault(`"${name.text}" names a let and ${nameFault(name.text)}`, name);
  }
  const type = cursor.accept(":") === null ? null : parseType(cursor);
  if (cursor.accept("=") === null) throw cursor.missing(`"=" and the value of ${name.text}`);
  const value = new ExpressionParser(cursor).parse();
  if (cursor.accept(";") === null) {
    throw cursor.atEnd() ? cursor.missing('";"') : unexpected(cursor);
  }
  return { name: name.text, at: name.at, type, value };
}

function parseType(cursor: Cursor): HookType {
  const { text } = cursor.next;
  if (!isScalarType(text)) throw cursor.fault("the type of a let must be f32, i32, u32 or bool");
  cursor.take();
  return text;
}

/** The error of a token that cannot follow an expression. */
function unexpected(cursor: Cursor) {
  return cursor.fault(refusal(cursor.next.text) ?? `"${cursor.next.text}" cannot follow a value`);
}

/** Precedence climbing; where WGSL has no precedence it asks for parentheses. */
class ExpressionParser {
  readonly #cursor: Cursor;
  #open = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  parse(level = 0): Expression {
    if (level === LOOSENESS.length) return this.#unary();
    let left = this.parse(level + 1);
    while (this.#isOperator(level)) {
      const operator = this.#cursor.take();
      const right = this.parse(level + 1);
      this.#refuseMixing(operator, [left, right]);
      const depth = 1 + Math.max(left.depth, right.depth);
      left = this.#made({
        ...{ kind: "binary", operator: operator.text, operatorAt: operator.at, left, right, depth },
        ...{ at: left.at, end: right.end },
      }, operator);
    }
    return left;
  }

  #isOperator(level: number): boolean {
    const { kind, text } = this.#cursor.next;
    return kind === "mark" && Object.hasOwn(BINARY, text) &&
      BINARY[text].group === LOOSENESS[level];
  }

  #refuseMixing(operator: Token, operands: readonly Expression[]): void {
    const inside = INSIDE[BINARY[operator.text].group];
    for (const operand of operands) {
      if (operand.kind !== "binary" || operand.parenthesised) continue;
      if (inside.includes(BINARY[operand.operator].group)) continue;
      const [first, second] = operand.operatorAt < operator.at
        ? [operand.operator, operator.text]
        : [operator.text, operand.operator];
      const at = Math.max(operand.operatorAt, operator.at);
      throw this.#cursor.fault(
        `${first} and ${second} must be told apart by parentheses, as WGSL asks`,
        { ...operator, at },
      );
    }
  }

  #unary(): Expression {
    const operator = this.#cursor.next;
    if (operator.kind !== "mark" || !Object.hasOwn(UNARY, operator.text)) return this.#primary();
    this.#cursor.take();
    const operand = this.#nested(operator, () => this.#unary());
    const { depth, end } = operand;
    return this.#made(
      { kind: "unary", operator: operator.text, operand, at: operator.at, end, depth: depth + 1 },
      operator,
    );
  }

  #primary(): Expression {
    const token = this.#cursor.next;
    const place = { at: token.at, end: token.at + token.text.length, depth: 1 };
    if (token.kind === "number" || token.text === "true" || token.text === "false") {
      this.#cursor.take();
      return this.#made({ kind: "literal", text: token.text, ...place }, token);
    }
    if (token.kind === "word") return this.#word();
    if (token.text !== "(") {
      throw token.kind === "end"
        ? this.#cursor.missing("a value")
        : this.#cursor.fault(refusal(token.text) ?? `a value must stand before "${token.text}"`);
    }
    this.#cursor.take();
    const inner = this.#nested(token, () => this.parse());
    this.#close(token);
    return { ...inner, at: token.at, end: this.#cursor.end, parenthesised: true };
  }

  #word(): Expression {
    const name = this.#cursor.next;
    const reason = refusal(name.text);
    if (reason !== null) throw this.#cursor.fault(reason);
    this.#cursor.take();
    const open = this.#cursor.accept("(");
    if (open === null) {
      return this.#made(
        { kind: "name", name: name.text, at: name.at, end: this.#cursor.end, depth: 1 },
        name,
      );
    }
    const operands: Expression[] = [];
    while (this.#cursor.next.text !== ")") {
      operands.push(this.#nested(open, () => this.parse()));
      if (this.#cursor.accept(",") === null) break;
    }
    this.#close(open);
    const depth = 1 + Math.max(0, ...operands.map((operand) => operand.depth));
    const place = { at: name.at, end: this.#cursor.end, depth };
    return this.#made({ kind: "call", name: name.text, operands, ...place }, name);
  }

  #close(open: Token): void {
    if (this.#cursor.accept(")") !== null) return;
    throw this.#cursor.atEnd()
      ? this.#cursor.fault("a parenthesis must be closed", open)
      : unexpected(this.#cursor);
  }

  /** Reads something inside something else, unless that is too deep. */
  #nested(token: Token, read: () => Expression): Expression {
    if (++this.#open > MAX_DEPTH) throw this.#tooDeep(token);
    const expression = read();
    this.#open--;
    return expression;
  }

  #made(part: Part, token: Token): Expression {
    if (part.depth > MAX_DEPTH) throw this.#tooDeep(token);
    return { ...part, parenthesised: false };
  }

  #tooDeep(token: Token) {
    return this.#cursor.fault(
      `an expression must nest at most ${MAX_DEPTH} deep, write parts of it as let`,
      token,
    );
  }
}
