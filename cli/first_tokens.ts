import { volume } from "../gpu/dtype.ts";

/** The first tokens of each row of a `[B, T, …]` array, in f32. */
export function firstTokens(
  { data, shape }: { readonly data: ArrayLike<number>; readonly shape: readonly number[] },
  tokens: number,
): { data: Float32Array; shape: number[] } {
  const [batch, length, ...row] = shape;
  const width = volume(row);
  const first = new Float32Array(batch * tokens * width);
  for (let b = 0; b < batch; b++) {
    const start = b * length * width;
    for (let i = 0; i < tokens * width; i++) first[b * tokens * width + i] = data[start + i];
  }
  return { data: first, shape: [batch, tokens, ...row] };
}
