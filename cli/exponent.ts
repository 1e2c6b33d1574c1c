/** The law y = factor · x^exponent. */
export interface PowerLaw {
  readonly factor: number;
  readonly exponent: number;
}

/**
 * The power law that fits points best, by the least squares through their logarithms. Undefined
 * where all points have one x.
 */
export function fittedLaw(points: readonly (readonly [number, number])[]): PowerLaw | undefined {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const [meanX, meanY] = [0, 1].map((axis) =>
    logs.reduce((sum, point) => sum + point[axis], 0) / logs.length
  );
  const squares = logs.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const products = logs.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  if (!(squares > 0)) return undefined;
  const exponent = products / squares;
  return { factor: Math.exp(meanY - exponent * meanX), exponent };
}
