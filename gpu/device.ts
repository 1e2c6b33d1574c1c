import type { AdapterSummary } from "./adapter.ts";
import { keepHostCopy } from "./host_copy.ts";
import {
  checkElementType,
  checkShape,
  type DataOf,
  type DType,
  dtypeOf,
  elementBytes,
  kindOf,
  volume,
} from "./dtype.ts";
import { UnsupportedDeviceError } from "./errors.ts";
import type { GpuFeatures } from "./features.ts";
import type { GpuLimits } from "./limits.ts";
import type { MemoryUse } from "./memory.ts";
import { prepareCalls } from "./prepare.ts";
import { attachRuntime, Runtime, runtimeOf } from "./runtime.ts";
import { Tensor } from "./tensor.ts";
import type { TunedClasses } from "./tuning.ts";
import { checkWrapped } from "./wrapped.ts";

/** Bytes of the smallest buffer. */
const SMALLEST = 16;

/**
 * A GPU device that holds tensors and runs operators.
 *
 * @example One operator on typed arrays
 * ```ts
 * import { attention, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const one = () => gpu.tensor(new Float32Array(64).fill(1), [1, 1, 1, 64]);
 * const { out } = attention(one(), one(), one());
 * assertEquals((await out.read())[0], 1);
 * ```
 */
export class Gpu implements Disposable {
  /** The plain device, for passes of your own. */
  readonly device: GPUDevice;
  /** Who computes. */
  readonly adapter: AdapterSummary;
  /** Features found by probing. */
  readonly features: GpuFeatures;
  /** Limits that planning heeds. */
  readonly limits: GpuLimits;
  /** What the tuning that it was opened with chooses on this adapter, by class of problems. */
  readonly tuned: TunedClasses;
  readonly #poison: boolean;

  /**
   * Use `requestGpu()` instead.
   *
   * @param device the device
   * @param adapter who computes
   * @param features what was probed
   * @param limits limits for planning
   * @param poison whether new buffers are filled with NaN
   * @param tuned what a tuning chooses on this adapter
   */
  constructor(
    device: GPUDevice,
    adapter: AdapterSummary,
    features: GpuFeatures,
    limits: GpuLimits,
    poison: boolean,
    tuned: TunedClasses = new Map(),
  ) {
    this.device = device;
    this.adapter = adapter;
    this.features = features;
    this.limits = limits;
    this.#poison = poison;
    this.tuned = tuned;
    const subgroupDirective = features.subgroups?.directive ?? false;
    attachRuntime(this, new Runtime(device, { subgroupDirective }));
  }

  /**
   * Uploads a typed array.
   *
   * @param data elements in row-major order; their type becomes the tensor's
   * @param shape sizes of the axes, with as many elements as `data`
   * @returns a tensor that this device owns
   * @throws TypeError if the shape does not hold `data`
   */
  tensor(data: Float32Array, shape: readonly number[]): Tensor<"f32">;
  /** The same for 16-bit floating point. */
  tensor(data: Float16Array, shape: readonly number[]): Tensor<"f16">;
  /** The same for 32-bit signed integers. */
  tensor(data: Int32Array, shape: readonly number[]): Tensor<"i32">;
  /** The same for 32-bit unsigned integers. */
  tensor(data: Uint32Array, shape: readonly number[]): Tensor<"u32">;
  /** The same for any of these. */
  tensor(data: DataOf[DType], shape: readonly number[]): Tensor;
  tensor(data: DataOf[DType], shape: readonly number[]): Tensor {
    const dtype = dtypeOf(data);
    checkShape("make a tensor", shape);
    if (volume(shape) !== data.length) {
      throw new TypeError(
        `Cannot make a tensor as its shape must hold all of data: shape [${shape}] holds ${
          volume(shape)
        }, data has ${data.length}`,
      );
    }
    runtimeOf(this).recorder.tape?.spoil();
    const tensor = this.#allocate(shape, dtype);
    const whole = data.byteLength - data.byteLength % 4;
    const { queue } = this.device;
    // Deno panics when an empty ArrayBuffer is written
    if (whole > 0) {
      queue.writeBuffer(tensor.buffer, 0, data.buffer as ArrayBuffer, data.byteOffset, whole);
    }
    if (whole < data.byteLength) {
      const tail = new Uint8Array(4);
      tail.set(new Uint8Array(data.buffer, data.byteOffset + whole, data.byteLength - whole));
      queue.writeBuffer(tensor.buffer, whole, tail);
    }
    if (data instanceof Int32Array) keepHostCopy(tensor, data);
    return tensor;
  }

  /**
   * Allocates a tensor whose elements are not yet defined.
   *
   * @typeParam T element type
   * @param shape sizes of the axes
   * @param dtype element type
   * @returns a tensor that this device owns
   */
  empty<T extends DType>(shape: readonly number[], dtype: T): Tensor<T> {
    checkShape("make a tensor", shape);
    checkElementType("make a tensor", dtype);
    const runtime = runtimeOf(this);
    const { recorder } = runtime;
    const whole = recorder.rehearsal === null;
    // poison would be written ahead of all that is recorded
    const reuse = whole && !this.#poison;
    const tensor = this.#allocate(shape, dtype, { whole, reuse });
    runtime.promise(tensor);
    recorder.tape?.empty(tensor);
    if (this.#poison) {
      this.device.queue.writeBuffer(tensor.buffer, 0, new Uint8Array(tensor.buffer.size).fill(255));
    }
    return tensor;
  }

  /**
   * Lends a buffer of the caller's as a tensor; it stays the caller's to destroy.
   *
   * @typeParam T element type
   * @param buffer a buffer of `gpu.device` with `STORAGE` usage; `COPY_SRC` too if it will be read
   * @param shape sizes of the axes
   * @param dtype element type
   * @returns a tensor over the start of the buffer
   * @throws TypeError if the buffer is none, lacks `STORAGE` usage or is too small
   */
  wrap<T extends DType>(buffer: GPUBuffer, shape: readonly number[], dtype: T): Tensor<T> {
    checkWrapped(buffer, shape, dtype);
    runtimeOf(this).recorder.retired.share({ buffer });
    return new Tensor(this, buffer, shape, dtype, false);
  }

  /**
   * Runs a function and frees every tensor made inside but those in its result.
   *
   * @typeParam T what the function returns: tensors, or arrays and plain objects of them
   * @param body must not be async
   * @returns what `body` returns
   *
   * @example Keep the output, free the rest
   * ```ts
   * import { attention, requestGpu } from "@tessera/kernels";
   * import { assertEquals } from "@std/assert";
   * using gpu = await requestGpu();
   * using out = gpu.scope(() => {
   *   const x = gpu.tensor(new Float32Array(64), [1, 1, 1, 64]);
   *   return attention(x, x, x).out;
   * });
   * assertEquals(gpu.memory().tensors, 1);
   * assertEquals(out.shape, [1, 1, 1, 64]);
   * ```
   */
  scope<T>(body: () => T): T {
    return runtimeOf(this).scope(body, (result) => {
      if (result instanceof Promise) {
        throw new TypeError("Cannot scope an async function as tensors are freed when it returns");
      }
      return tensorsIn(result);
    });
  }

  /** Live bytes, their peak, and live tensors. */
  memory(): MemoryUse {
    return runtimeOf(this).meter.read();
  }

  /**
   * Sends recorded work to the device and waits until it is done.
   *
   * @throws DeviceError or ShaderError naming the operator that failed
   */
  async submit(): Promise<void> {
    const { recorder } = runtimeOf(this);
    recorder.submit();
    await this.device.queue.onSubmittedWorkDone();
    await recorder.settled();
  }

  /**
   * Compiles what calls of operators will run, ahead of their first use, in parallel where the runtime
   * can.
   *
   * Each call is made once and launches nothing; what it makes is freed, and `empty()` takes no memory
   * in it, so tensors only tell shapes. Lengths hardly matter: few pipelines depend on them.
   *
   * @param calls functions that call operators; must not be async, nor read tensors
   * @throws what a call throws, before anything is compiled
   * @throws ShaderError if the driver refuses a shader
   *
   * @example Compile before the first token
   * ```ts
   * import { attention, requestGpu, simpleGla } from "@tessera/kernels";
   * using gpu = await requestGpu();
   * const heads = () => gpu.empty([1, 512, 2, 16], "f32");
   * await gpu.prepare([
   *   () => attention(heads(), heads(), heads(), { causal: true }),
   *   () => simpleGla(heads(), heads(), heads(), gpu.empty([2], "f32")),
   * ]);
   * ```
   */
  async prepare(calls: readonly (() => unknown)[]): Promise<void> {
    await prepareCalls(runtimeOf(this), calls);
  }

  /**
   * Records operators into an encoder of the caller's, who submits it.
   *
   * Tensors that the operators read and write must live until then.
   *
   * @typeParam T what the function returns
   * @param encoder takes the commands; no pass may be open
   * @param body calls operators; must not read tensors
   * @returns what `body` returns
   * @throws TypeError if the encoder is none
   */
  record<T>(encoder: GPUCommandEncoder, body: () => T): T {
    if (typeof encoder?.beginComputePass !== "function") {
      throw new TypeError(
        `Cannot record as encoder must be a GPUCommandEncoder: encoder is ${kindOf(encoder)}`,
      );
    }
    return runtimeOf(this).recorder.redirect(encoder, body);
  }

  /** Destroys the device; tensors and later calls fail with one clear error. */
  dispose(): void {
    runtimeOf(this).recorder.dispose();
    this.device.destroy();
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #allocate<T extends DType>(
    shape: readonly number[],
    dtype: T,
    { whole, reuse } = { whole: true, reuse: false },
  ): Tensor<T> {
    const { recorder } = runtimeOf(this);
    recorder.ensureAlive("an allocation");
    const size = Math.max(SMALLEST, Math.ceil(volume(shape) * elementBytes(dtype) / 16) * 16);
    if (size > this.limits.maxBufferSize) {
      throw new UnsupportedDeviceError(
        `Cannot make a tensor as it must fit one buffer: [${shape}] of ${dtype} takes ${size} bytes, the device allows ${this.limits.maxBufferSize}`,
        { requirement: "maxBufferSize", needed: size, available: this.limits.maxBufferSize },
      );
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const own = { label: `${dtype} [${shape}]`, size: whole ? size : SMALLEST, usage };
    const create = (): GPUBuffer => this.device.createBuffer(own);
    const retired = reuse ? recorder.reuse(size) : undefined;
    const buffer = retired ?? recorder.operation("an allocation", create);
    return new Tensor(this, buffer, shape, dtype, true);
  }
}

function tensorsIn(value: unknown, found: Set<Tensor> = new Set()): Set<Tensor> {
  if (value instanceof Tensor) found.add(value);
  else if (Array.isArray(value)) value.forEach((item) => tensorsIn(item, found));
  else if (typeof value === "object" && value !== null) tensorsIn(Object.values(value), found);
  return found;
}
