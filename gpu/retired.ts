import type { BufferRange } from "./operation.ts";

/** Buffers whose tensors were freed, while recorded commands still need them. */
export class Retired {
  /** Of tensors, by bytes. */
  readonly #free: Map<number, GPUBuffer[]> = new Map();
  #others: GPUBuffer[] = [];
  readonly #shared: WeakSet<GPUBuffer> = new WeakSet();

  /** Notes what a caller may use beyond what is recorded here: it is destroyed, never taken out. */
  share(...resources: readonly (BufferRange | GPUTextureView)[]): void {
    for (const resource of resources) {
      if ("buffer" in resource) this.#shared.add(resource.buffer);
    }
  }

  /** Adds the buffer of a tensor. */
  addOfTensor(buffer: GPUBuffer): void {
    if (this.#shared.has(buffer)) return this.add(buffer);
    const free = this.#free.get(buffer.size);
    if (free === undefined) this.#free.set(buffer.size, [buffer]);
    else free.push(buffer);
  }

  /** Adds another buffer. */
  add(buffer: GPUBuffer): void {
    this.#others.push(buffer);
  }

  /** Takes the buffer of a tensor out again: what is recorded from now on comes after all that needs it. */
  take(bytes: number): GPUBuffer | undefined {
    return this.#free.get(bytes)?.pop();
  }

  /** Destroys them. */
  destroy(): void {
    for (const buffers of this.#free.values()) buffers.forEach((buffer) => buffer.destroy());
    this.#others.forEach((buffer) => buffer.destroy());
    this.#free.clear();
    this.#others = [];
  }
}
