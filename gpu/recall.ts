import { runtimeOf } from "./runtime.ts";
import { nothingFound, spell } from "./spelling.ts";
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
  const found = nothingFound();
  const key = `${operatorNumber(run)}${spell(args, found)}`;
  const { tensors, plain } = found;
  const usable = plain && tensors.length > 0 &&
    tensors.every(({ gpu, disposed }) => gpu === tensors[0].gpu && !disposed);
  if (!usable) return run(...args);
  const [{ gpu }] = tensors;
  const { tapes, recorder } = runtimeOf(gpu);
  const known = tapes.get(key);
  if (known !== undefined) return known.play(gpu, found) as R;
  // a part of another operator is on its tape
  if (recorder.tape !== null) return run(...args);
  const tape = new Tape(found);
  const result = recorder.taped(tape, () => run(...args));
  if (tape.end(result)) tapes.set(key, tape);
  return result;
}

function operatorNumber(run: object): number {
  let number = OPERATORS.get(run);
  if (number === undefined) {
    number = operators++;
    OPERATORS.set(run, number);
  }
  return number;
}
