/** Bytes to which blocks are aligned: what WebGPU asks of the offset of any binding, at most. */
const SLOT = 256;
const SLOTS = 256;
/** Bytes of a block that is worth copying here. */
const LARGEST = 16 * SLOT;

/**
 * Parameters and small tables of what is recorded: blocks of one buffer, which is written in one piece
 * when its submission goes out.
 */
export class Arena {
  /** Where blocks are written until then; offsets are those of the buffer. */
  readonly staging: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(SLOT * SLOTS));
  readonly #device: GPUDevice;
  #buffer: GPUBuffer;
  #slots = 0;
  /** Tables that are there already, and their offsets. */
  readonly #tables: Map<Uint32Array<ArrayBuffer>, number> = new Map();

  /** Makes an empty arena. */
  constructor(device: GPUDevice) {
    this.#device = device;
    this.#buffer = this.#create();
  }

  /** What blocks are bound in, for reading only. */
  get buffer(): GPUBuffer {
    return this.#buffer;
  }

  /** Whether a block may be in an arena. */
  static holds(bytes: number): boolean {
    return bytes <= LARGEST;
  }

  /** Takes a block and returns its offset, or null where the arena is full. */
  take(bytes: number): number | null {
    const slots = Math.max(1, Math.ceil(bytes / SLOT));
    if (this.#slots + slots > SLOTS) return null;
    const offset = this.#slots * SLOT;
    this.#slots += slots;
    return offset;
  }

  /** Puts a table into its block. */
  place(words: Uint32Array<ArrayBuffer>, offset: number): void {
    new Uint32Array(this.staging.buffer, offset, words.length).set(words);
    this.#tables.set(words, offset);
  }

  /** The offset of a table that was put here for this submission, or undefined. */
  find(words: Uint32Array<ArrayBuffer>): number | undefined {
    return this.#tables.get(words);
  }

  /** Writes the blocks, ahead of the submission that reads them, and starts anew. */
  flush(): void {
    this.#device.queue.writeBuffer(this.#buffer, 0, this.staging.buffer, 0, this.#slots * SLOT);
    this.#slots = 0;
    this.#tables.clear();
  }

  /** Goes on in another buffer and hands over the old one, whose blocks stay as they are. */
  leave(): GPUBuffer {
    const left = this.#buffer;
    this.#buffer = this.#create();
    return left;
  }

  /** Destroys the buffer. */
  dispose(): void {
    this.#buffer.destroy();
  }

  #create(): GPUBuffer {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    return this.#device.createBuffer({ label: "parameters", size: SLOT * SLOTS, usage });
  }
}
