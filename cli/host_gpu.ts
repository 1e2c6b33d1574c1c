import { Gpu } from "../gpu/device.ts";
import { viewOf } from "../gpu/dtype.ts";
import type { GpuLimits } from "../gpu/limits.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { HookTable } from "./hook_table.ts";

/** A buffer in the memory of the host. */
interface HostBuffer {
  readonly size: number;
  readonly bytes: ArrayBuffer;
}

/** What a `Gpu` asks of its device for the making of tensors. */
const HOST_DEVICE = {
  lost: new Promise<never>(() => {}),
  pushErrorScope() {},
  popErrorScope: () => Promise.resolve(null),
  createBuffer: ({ size }: GPUBufferDescriptor): HostBuffer => ({
    size,
    bytes: new ArrayBuffer(size),
  }),
  queue: {
    // of a typed array, no start and no size are given: it is copied as it is
    writeBuffer(to: HostBuffer, at: number, from: ArrayBuffer, start?: number, size?: number) {
      new Uint8Array(to.bytes, at).set(new Uint8Array(from, start, size));
    },
  },
};

/**
 * A device that holds tensors and computes nothing, for what needs no adapter: the library makes hooks
 * of its tensors and checks them, {@linkcode tableOf} reads them.
 */
export function hostGpu(): Gpu {
  const adapter = { description: "host", vendor: "", architecture: "", driver: "other" } as const;
  return new Gpu(
    HOST_DEVICE as unknown as GPUDevice,
    { ...adapter, software: true },
    { f16: false, subgroups: null, timestamps: false },
    { maxBufferSize: 2 ** 31 } as GpuLimits,
    false,
  );
}

/** The elements of a tensor of {@linkcode hostGpu}. */
export function tableOf({ buffer, dtype, shape, size }: Tensor): HookTable {
  const { bytes } = buffer as unknown as HostBuffer;
  return { data: viewOf(dtype, bytes, size), shape };
}
