/** A tensor that hooks read, on the host. */
export interface HookTable {
  readonly data: Float32Array | Float16Array | Int32Array | Uint32Array;
  readonly shape: readonly number[];
}

/** An element by indices, each clamped to its axis, as hooks read it. */
export function elementAt({ data, shape }: HookTable, ...indices: number[]): number {
  const at = indices.reduce(
    (flat, index, axis) => flat * shape[axis] + Math.min(Math.max(index, 0), shape[axis] - 1),
    0,
  );
  return data[at];
}
