/**
 * Tiled attention on the GPU through WebGPU, on any adapter, checked against float64.
 *
 * Tensors live on a device that {@linkcode requestGpu} opens; operators take tensors and one options
 * object, record their work and return at once; `read()` submits and waits. Shapes are heads last:
 * `[B, T, H, D]` for batch, tokens, heads, head dim.
 *
 * @example Ten lines
 * ```ts
 * import { attention, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const data = () => Float32Array.from({ length: 1024 * 8 * 64 }, () => Math.random() - 0.5);
 * const q = gpu.tensor(data(), [1, 1024, 8, 64]);
 * const k = gpu.tensor(data(), [1, 1024, 8, 64]);
 * const v = gpu.tensor(data(), [1, 1024, 8, 64]);
 * const { out } = attention(q, k, v, { causal: true });
 * const result: Float32Array = await out.read();
 * console.log(result.length);
 * ```
 *
 * @module
 */

export * from "./ops/attention/mod.ts";
export * from "./ops/block_map/mod.ts";
export * from "./ops/cache/mod.ts";
export * from "./ops/centroids/mod.ts";
export * from "./ops/conv/mod.ts";
export * from "./ops/fast_weights/mod.ts";
export * from "./ops/hash/mod.ts";
export * from "./ops/hooks/mod.ts";
export * from "./ops/log_linear/mod.ts";
export * from "./ops/merge/mod.ts";
export * from "./ops/neighborhood/mod.ts";
export * from "./ops/pool/mod.ts";
export * from "./ops/recurrence/mod.ts";
export * from "./ops/rope/mod.ts";
export * from "./ops/scan/mod.ts";
export * from "./ops/select/mod.ts";
export * from "./ops/selective_scan/mod.ts";
export * from "./ops/statistics/mod.ts";
export * from "./ops/tree/mod.ts";
export type { AdapterSummary, DriverKind } from "./gpu/adapter.ts";
export { Gpu } from "./gpu/device.ts";
export type { DataOf, DType, TensorData } from "./gpu/dtype.ts";
export { DeviceError, ShaderError, type Shortage, UnsupportedDeviceError } from "./gpu/errors.ts";
export type { GpuFeatures, SubgroupFeatures } from "./gpu/features.ts";
export type { GpuLimits } from "./gpu/limits.ts";
export type { MemoryUse } from "./gpu/memory.ts";
export { type GpuOptions, requestGpu } from "./gpu/request.ts";
export { Tensor } from "./gpu/tensor.ts";
export type { TunedChoice, TunedClasses, Tuning } from "./gpu/tuning.ts";
