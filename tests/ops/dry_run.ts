// Operators that record into lists: what planned work asks of a device, without one.
import { type DType, elementBytes } from "../../gpu/dtype.ts";
import type { Launch, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../mod.ts";

/** What an operator recorded. */
export interface DryRun {
  readonly operation: Operation;
  readonly launches: Launch[];
  /** Bytes of the buffers that were lent. */
  readonly scratch: number[];
}

/** An operation that launches nothing. */
export function dryRunOf(): DryRun {
  const launches: Launch[] = [];
  const scratch: number[] = [];
  const operation: Operation = {
    launch: (launch) => void launches.push(launch),
    scratch: (bytes) => {
      scratch.push(bytes);
      return { buffer: dryBuffer(bytes) };
    },
    table: ({ byteLength }) => ({ buffer: dryBuffer(byteLength) }),
    copy: () => {},
    texture: () => ({}) as GPUTextureView,
    giveBack: () => {},
  };
  return { operation, launches, scratch };
}

/** A buffer of which only the size is told. */
export function dryBuffer(bytes: number): GPUBuffer {
  return { size: Math.max(16, Math.ceil(bytes / 16) * 16) } as GPUBuffer;
}

/** Rows that nothing holds. */
export function dryTensor(dtype: DType, ...shape: [rows: number, width: number]): Tensor {
  const size = shape[0] * shape[1];
  const buffer = dryBuffer(size * elementBytes(dtype));
  return { buffer, dtype, shape, size } as unknown as Tensor;
}
