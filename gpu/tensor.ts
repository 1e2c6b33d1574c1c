import type { Gpu } from "./device.ts";
import { type DataOf, type DType, elementBytes, viewOf, volume } from "./dtype.ts";
import { hostCopyNumber } from "./host_copy.ts";
import { runtimeOf } from "./runtime.ts";

/** Spells what an operator can know of a tensor without waiting for the device. */
export let describeTensor: (tensor: Tensor) => string;

/**
 * An array on the GPU: a buffer, a shape and an element type, row-major, last axis fastest.
 *
 * @typeParam T element type
 *
 * @example Upload, read back, free
 * ```ts
 * import { requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * using x = gpu.tensor(new Float32Array([1, 2, 3, 4]), [2, 2]);
 * assertEquals([...await x.read()], [1, 2, 3, 4]);
 * ```
 */
export class Tensor<T extends DType = DType> implements Disposable {
  /** The device that holds it. */
  readonly gpu: Gpu;
  /**
   * Its memory, for passes of your own, until `dispose()`; a caller's own buffer where it was wrapped.
   * Integers that were uploaded (`cuSeqlens`, page tables) count as uploaded, whatever is written to it.
   * What is submitted or written to it elsewhere comes before recorded work that `gpu.submit()` has not
   * sent.
   */
  readonly buffer: GPUBuffer;
  /** Sizes of its axes. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: T;
  readonly #owned: boolean;
  #disposed = false;
  #description: string | null = null;

  static {
    describeTensor = (tensor) => tensor.#description ??= tensor.#describe();
  }

  /**
   * Use `gpu.tensor()`, `gpu.empty()` or `gpu.wrap()` instead.
   *
   * @param gpu the device
   * @param buffer its memory
   * @param shape sizes of the axes
   * @param dtype element type
   * @param owned whether disposing destroys the buffer
   */
  constructor(
    gpu: Gpu,
    buffer: GPUBuffer,
    shape: readonly number[],
    dtype: T,
    owned: boolean,
  ) {
    this.gpu = gpu;
    this.buffer = buffer;
    this.shape = shape.slice();
    this.dtype = dtype;
    this.#owned = owned;
    runtimeOf(gpu).adopt(this, owned ? buffer.size : 0);
  }

  /** Number of elements. */
  get size(): number {
    return volume(this.shape);
  }

  /** Bytes of its elements. */
  get bytes(): number {
    return this.size * elementBytes(this.dtype);
  }

  /** Whether `dispose()` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Submits the recorded work and copies the elements back.
   *
   * @returns a typed array of its element type, in row-major order
   * @throws DeviceError or ShaderError naming the operator that failed
   */
  async read(): Promise<DataOf[T]> {
    if (this.#disposed) throw new TypeError("Cannot read a tensor as it was disposed");
    const bytes = await runtimeOf(this.gpu).read(this);
    return viewOf(this.dtype, bytes, this.size);
  }

  /**
   * Frees its memory once recorded work no longer needs it: hands the buffer to the result of a later
   * operator at once, or destroys it, a small one after a few submissions, unless `gpu.wrap()` or
   * `gpu.record()` used it. Wrapped buffers stay the caller's.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    runtimeOf(this.gpu).release(this, this.#owned);
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #describe(): string {
    const { dtype, shape, buffer } = this;
    const copy = dtype === "i32" ? hostCopyNumber(this) ?? "computed" : "";
    const lent = this.#owned ? "" : `${buffer.size} ${buffer.usage}`;
    return `${dtype}[${shape.join()}]${copy}/${lent}`;
  }
}
