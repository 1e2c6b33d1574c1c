/**
 * Buffers that a device holds for the library, but for at most 64 MiB of freed pieces that wait for their
 * next use.
 */
export interface MemoryUse {
  /** Bytes of live tensors and scratch. */
  readonly bytes: number;
  /** The most that `bytes` has been, since the start. */
  readonly peakBytes: number;
  /** Tensors that were neither disposed nor handed over. */
  readonly tensors: number;
}

/** Counts what is allocated; wrapped buffers belong to the caller and do not count. */
export class MemoryMeter {
  #bytes = 0;
  #peakBytes = 0;
  #tensors = 0;

  /** Counts an allocation, of a tensor or of scratch. */
  add(bytes: number, tensors: number): void {
    this.#bytes += bytes;
    this.#tensors += tensors;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
  }

  /** Takes an allocation back. */
  remove(bytes: number, tensors: number): void {
    this.#bytes -= bytes;
    this.#tensors -= tensors;
  }

  /** Starts a new measurement of the peak. */
  resetPeak(): void {
    this.#peakBytes = this.#bytes;
  }

  /** The counts now. */
  read(): MemoryUse {
    return { bytes: this.#bytes, peakBytes: this.#peakBytes, tensors: this.#tensors };
  }
}
