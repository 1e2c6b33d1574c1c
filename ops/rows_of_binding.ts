import type { GpuLimits } from "../gpu/limits.ts";

/**
 * How many times so many bytes one binding holds, from wherever it starts: `boundRows()` begins up to
 * the alignment times its rows of `unit` bytes before.
 */
export function rowsOfBinding(
  bytes: number,
  { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment }: GpuLimits,
  unit: number = bytes,
): number {
  if (bytes === 0) return Infinity;
  const before = unit % alignment === 0 ? 0 : alignment % unit === 0 ? alignment : alignment * unit;
  return Math.floor((largest - before) / bytes);
}
