/**
 * The exponent p of the law y = c·x^p that fits points best: the slope of the least squares through
 * their logarithms. Undefined where all points have one x.
 */
export function fittedExponent(points: readonly (readonly [number, number])[]): number | undefined {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const [meanX, meanY] = [0, 1].map((axis) =>
    logs.reduce((sum, point) => sum + point[axis], 0) / logs.length
  );
  const squares = logs.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const products = logs.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return squares > 0 ? products / squares : undefined;
}
