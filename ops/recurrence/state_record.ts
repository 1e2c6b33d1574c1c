import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import { areCopyable } from "../attention/sizes.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";

/** What a state must be. */
interface StateRecord {
  /** What callers know it as. */
  readonly name: string;
  /** The shapes of its parts, in order. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** The parts that the engine may copy. */
  readonly copied: readonly string[];
}

/** Checks a state of several tensors. */
export function checkStateRecord(
  action: string,
  { q, initialState }: { readonly q: Tensor; readonly initialState: unknown },
  { name: whole, shapes, copied }: StateRecord,
): void {
  const names = Object.keys(shapes);
  if (
    typeof initialState !== "object" || initialState === null || initialState instanceof Tensor
  ) {
    throw new TypeError(
      `Cannot ${action} as ${whole} must be a record { ${names.join(", ")} }: ${whole} is ${
        kindOf(initialState)
      }`,
    );
  }
  const state = initialState as Readonly<Record<string, Tensor>>;
  const parts = names.map((name) => [`${whole}.${name}`, state[name]]);
  checkTensors(action, { q, ...Object.fromEntries(parts) });
  for (const name of names) {
    checkDType(action, `${whole}.${name}`, state[name], ["f32"]);
    checkShape(action, `${whole}.${name}`, state[name], [...shapes[name]]);
  }
  for (const name of copied) {
    if (areCopyable([state[name]])) continue;
    throw new TypeError(
      `Cannot ${action} as the buffer of ${whole}.${name} must have COPY_SRC usage: it has not`,
    );
  }
}
