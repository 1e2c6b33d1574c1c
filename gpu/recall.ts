import { runtimeOf } from "./runtime.ts";
import { copied, type Found, nothingFound, spell } from "./spelling.ts";
import { Tape } from "./tape.ts";

/** Numbers of operators. */
const OPERATORS: WeakMap<object, number> = new WeakMap();
let operators = 0;

/**
 * Runs an operator, or records again what an earlier call with like arguments recorded: then nothing has
 * to be validated, planned or generated. What arguments are like is told by the spelling of all of them.
 *
 * @param run the operator: what it does must depend on its arguments and their device alone
 * @param args all of its arguments
 * @returns what `run` returns: tensors, or plain objects of them
 */
export function recall<A extends readonly unknown[], R>(run: (...args: A) => R, ...args: A): R {
  const { key, found } = keyOf(run, args);
  if (!usable(found)) return run(...args);
  const [{ gpu }] = found.tensors;
  const { tapes, recorder } = runtimeOf(gpu);
  const known = tapes.get(key);
  if (known !== undefined) return known.play(gpu, found) as R;
  // a part of another operator is on its tape
  if (recorder.tape !== null) return run(...args);
  // what runs must be what is remembered: a getter may tell something else each time
  const own = copied(args);
  const seen = keyOf(run, own);
  const tape = new Tape(seen.found);
  const result = recorder.taped(tape, () => run(...own));
  if (tape.end(result) && usable(seen.found)) tapes.set(seen.key, tape, tape.weight);
  return result;
}

/** What a call is remembered by. */
function keyOf(run: object, args: readonly unknown[]): { readonly key: string; found: Found } {
  const found = nothingFound();
  return { key: `${operatorNumber(run)}${spell(args, found)}`, found };
}

/** Whether arguments are all spelled, live, and on one device. */
function usable({ plain, tensors }: Found): boolean {
  return plain && tensors.length > 0 &&
    tensors.every(({ gpu, disposed }) => gpu === tensors[0].gpu && !disposed);
}

function operatorNumber(run: object): number {
  let number = OPERATORS.get(run);
  if (number === undefined) {
    number = operators++;
    OPERATORS.set(run, number);
  }
  return number;
}
