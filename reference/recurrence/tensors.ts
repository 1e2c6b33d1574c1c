import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";

/** A tensor of zeros. */
export function zeros(shape: readonly number[]): Float64Tensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { data: new Float64Array(size), shape: [...shape] };
}

/** A tensor made of another one, element by element. */
export function mapTensor(
  x: ReferenceTensor,
  f: (element: number, index: number) => number,
): Float64Tensor {
  return { data: Float64Array.from(x.data, f), shape: [...x.shape] };
}
