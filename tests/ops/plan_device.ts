// Devices that are a driver, lanes and limits: what work is planned for, without a GPU.
import type { DriverKind } from "../../gpu/adapter.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { PlanDevice } from "../../ops/attention/schedule.ts";

/** What of a device differs from the defaults of its driver. */
export interface DeviceChanges extends Partial<GpuLimits> {
  /** Lanes of a subgroup, or null where there are no subgroups. */
  readonly lanes?: number | null;
}

/** The limits that WebGPU promises of every adapter. */
const PROMISED_LIMITS: Readonly<Omit<GpuLimits, "maxLoopIterations">> = {
  maxStorageBufferBindingSize: 2 ** 27,
  maxBufferSize: 2 ** 28,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  maxTextureDimension2D: 8192,
  minStorageBufferOffsetAlignment: 256,
};

/** The limits of a large GPU whose loops know none, with changes. */
export function planLimits(changes: Partial<GpuLimits> = {}): GpuLimits {
  return {
    ...PROMISED_LIMITS,
    maxBufferSize: 2 ** 31,
    maxComputeWorkgroupStorageSize: 32768,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxTextureDimension2D: 16384,
    minStorageBufferOffsetAlignment: 32,
    maxLoopIterations: Infinity,
    ...changes,
  };
}

/**
 * A device of a driver that has f16, with changes: llvmpipe has subgroups of 8 lanes and ends loops
 * after 65,535 iterations, every other driver has 32 lanes and loops without end.
 */
export function planDevice(driver: DriverKind, changes: DeviceChanges = {}): PlanDevice {
  const llvmpipe = driver === "llvmpipe";
  const { lanes = llvmpipe ? 8 : 32, ...limits } = changes;
  const software = llvmpipe || driver === "swiftshader";
  return {
    adapter: { description: driver, vendor: "", architecture: "", driver, software },
    features: {
      f16: true,
      subgroups: lanes === null ? null : { size: lanes, directive: false },
      timestamps: true,
    },
    limits: planLimits({ maxLoopIterations: llvmpipe ? 65_535 : Infinity, ...limits }),
  };
}

/** The same with the limits that WebGPU promises, and changes of them. */
export function promisedDevice(driver: DriverKind, changes: DeviceChanges = {}): PlanDevice {
  return planDevice(driver, { ...PROMISED_LIMITS, ...changes });
}
