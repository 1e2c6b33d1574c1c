/** What callers know tensors of the engine as, where it is not their name. */
export type TensorNames = Readonly<Partial<Record<"q" | "k" | "v" | "g" | "initialState", string>>>;

/** What callers know a tensor of the engine as. */
export function nameOf(names: TensorNames, name: string): string {
  return (names as Readonly<Record<string, string>>)[name] ?? name;
}

/** Values of the engine's tensors, by the names that callers know. */
export function named<V>(
  names: TensorNames,
  values: Readonly<Record<string, V>>,
): Record<string, V> {
  const entries = Object.entries(values).map(([name, value]) => [nameOf(names, name), value]);
  return Object.fromEntries(entries);
}
