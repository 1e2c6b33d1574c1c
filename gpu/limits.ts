import type { AdapterSummary } from "./adapter.ts";

/** The limits that planning heeds. */
export interface GpuLimits {
  /** Bytes of one storage binding. */
  readonly maxStorageBufferBindingSize: number;
  /** Bytes of one buffer. */
  readonly maxBufferSize: number;
  /** Bytes that a workgroup shares. */
  readonly maxComputeWorkgroupStorageSize: number;
  /** Invocations of one workgroup. */
  readonly maxComputeInvocationsPerWorkgroup: number;
  /** Workgroups on one axis of a dispatch. */
  readonly maxComputeWorkgroupsPerDimension: number;
  /** Texels on one axis of a 2-D texture. */
  readonly maxTextureDimension2D: number;
  /** Alignment in bytes of the start of a storage binding. */
  readonly minStorageBufferOffsetAlignment: number;
  /** Iterations, summed over all loops, after which the driver ends an invocation's loops. */
  readonly maxLoopIterations: number;
}

type DeviceLimit = Exclude<keyof GpuLimits, "maxLoopIterations">;

const DEVICE_LIMITS: readonly DeviceLimit[] = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
  "maxTextureDimension2D",
  "minStorageBufferOffsetAlignment",
];

/** The names of all limits. */
export const LIMITS: readonly string[] = [...DEVICE_LIMITS, "maxLoopIterations"];

/** Limits of a device, lowered where the caller asks for it. */
export function readLimits(
  device: GPUDevice,
  adapter: AdapterSummary,
  lowered: Partial<GpuLimits> = {},
): GpuLimits {
  const limits = DEVICE_LIMITS.map((name) => {
    const own = device.limits[name];
    const wanted = lowered[name] ?? own;
    return [name, name.startsWith("min") ? Math.max(own, wanted) : Math.min(own, wanted)];
  });
  // llvmpipe ends loops without an error after 65,535 iterations (docs/performance.md)
  const iterations = adapter.driver === "llvmpipe" ? 65_535 : Infinity;
  return {
    ...Object.fromEntries(limits) as Record<DeviceLimit, number>,
    maxLoopIterations: Math.min(iterations, lowered.maxLoopIterations ?? iterations),
  };
}
