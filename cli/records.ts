/** Tensors by name, and records of tensors. */
export type Nested<T> = Readonly<Record<string, T | Readonly<Record<string, T>>>>;

/** The tensors of what an operator returned, those of a record by names with a dot: `finalState.s`. */
export function flattened<T extends object>(results: object): Record<string, T> {
  const entries = Object.entries(results).flatMap(([name, value]): [string, T][] =>
    "shape" in value
      ? [[name, value]]
      : Object.entries<T>(value).map(([part, tensor]) => [`${name}.${part}`, tensor])
  );
  return Object.fromEntries(entries);
}

/** The reverse of {@linkcode flattened}. */
export function nested<T extends object>(tensors: Readonly<Record<string, T>>): Nested<T> {
  const result: Record<string, T | Record<string, T>> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const [record, part] = name.split(".");
    result[record] = part === undefined ? tensor : { ...result[record], [part]: tensor };
  }
  return result;
}
