import { type Builtin, BUILTINS } from "./builtins.ts";
import { alike, constantOf, converted } from "./convert.ts";
import { hookError, type HookText } from "./error.ts";
import { cast, held } from "./fold.ts";
import type { HookInput, HookType } from "./signature.ts";
import type { Expression } from "./syntax.ts";
import type { Typed } from "./typed.ts";
import { type Class, concreteOf } from "./types.ts";
import { indices, quote } from "./wording.ts";

/** A call as it is written. */
export type Call = Extract<Expression, { readonly kind: "call" }>;

/** An element of an input: `slope(h)`. */
export function typedRead(
  text: HookText,
  written: Call,
  { type, rank }: HookInput,
  given: readonly Typed[],
): Typed {
  const { name, at } = written;
  if (given.length !== rank) {
    const rule = `${name} has rank ${rank} and is read as ${name}(${indices(rank)})`;
    throw hookError(text, at, `${rule}, the call has ${counted(given.length, "index", "indices")}`);
  }
  const operands = given.map((operand) => typedIndex(text, operand, `an index of ${name}`));
  return { written, kind: "call", type, name: `hook_input_${name}`, operands };
}

function typedIndex(text: HookText, operand: Typed, what: string): Typed {
  const { written, type } = operand;
  if (type !== "u32") return converted(text, operand, "i32", what);
  if (operand.kind === "constant") {
    return constantOf(text, written, "i32", held(operand.value, "i32"));
  }
  return { written, kind: "call", type: "i32", name: "i32", operands: [operand] };
}

/** A value as another type: `f32(i)`. */
export function typedCast(
  text: HookText,
  written: Call,
  type: HookType,
  given: readonly Typed[],
): Typed {
  checkCount(text, written, given, 1);
  const [operand] = given;
  if (operand.kind !== "constant") {
    return { written, kind: "call", type, name: type, operands: given };
  }
  const fits = operand.type === "AbstractInt" && type !== "bool" ? held : cast;
  return constantOf(text, written, type, fits(operand.value, type));
}

/** A function of its operands: `exp(s)`. */
export function typedFunction(text: HookText, written: Call, given: readonly Typed[]): Typed {
  const { name, at } = written;
  const builtin = BUILTINS[name];
  const { takes, emitted, fold } = builtin;
  const chooses = name === "select";
  checkCount(text, written, given, builtin.operands + Number(chooses));
  const common = alike(text, given.slice(0, builtin.operands), takes, { user: name, at });
  const conditions = given.slice(builtin.operands).map((condition) =>
    converted(text, condition, "bool", "the condition of select")
  );
  checkOrder(text, name, builtin, common);
  const constant = [...common, ...conditions].every(({ kind }) => kind === "constant");
  const values = constant && takes !== "integer" ? common : concreteOperands(text, common, takes);
  const operands = [...values, ...conditions];
  const [{ type }] = values;
  if (!constant) return { written, kind: "call", type, name: emitted ?? name, operands };
  const folded = fold(
    operands.flatMap((operand) => operand.kind === "constant" ? [operand.value] : []),
    type,
  );
  return constantOf(text, written, type, folded);
}

/** What operands become that are not constants alone, or that only concrete types allow. */
function concreteOperands(text: HookText, operands: readonly Typed[], takes: Class): Typed[] {
  const type = concreteOf(operands[0].type, takes) ?? "f32";
  return operands.map((operand) => converted(text, operand, type, "an operand"));
}

function checkOrder(
  text: HookText,
  name: string,
  { ordered }: Builtin,
  operands: readonly Typed[],
): void {
  if (ordered === undefined) return;
  const [low, high] = [operands[ordered.low], operands[ordered.high]];
  if (low.kind !== "constant" || high.kind !== "constant" || low.value < high.value) return;
  if (ordered.equal && low.value === high.value) return;
  const relation = ordered.equal ? "at most" : "less than";
  const rule = `${quote(text, low.written)} must be ${relation} ${quote(text, high.written)}`;
  throw hookError(text, low.written.at, `${rule} in ${name}`);
}

function checkCount(text: HookText, call: Call, given: readonly Typed[], wanted: number): void {
  if (given.length === wanted) return;
  const takes = counted(wanted, "argument", "arguments");
  throw hookError(text, call.at, `${call.name} takes ${takes}, the call has ${given.length}`);
}

function counted(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
