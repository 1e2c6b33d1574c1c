import { Arena } from "./arena.ts";
import { type Block, ownBlock } from "./bind_groups.ts";
import type { BufferRange } from "./operation.ts";
import { paramBytes, type Program, writeParams } from "./program.ts";

/** Parameters and tables of what is recorded: blocks of an arena, or buffers of their own. */
export class Blocks {
  readonly #device: GPUDevice;
  readonly #arena: Arena;
  /** Submits what was recorded, and with it what the arena holds; says whether there was something. */
  readonly #submit: () => boolean;
  /** Buffers that hold tables of the operator that is being recorded. */
  #tables: GPUBuffer[] = [];
  /** Whether the arena holds some of them. */
  #tabled = false;

  /** Starts with an empty arena. */
  constructor(device: GPUDevice, submit: () => boolean) {
    this.#device = device;
    this.#arena = new Arena(device);
    this.#submit = submit;
  }

  /** Puts a parameter block where the shader will read it. */
  parameters(program: Program, values: Readonly<Record<string, number>>, foreign: boolean): Block {
    if (foreign) return ownBlock(this.#device, program, values);
    const size = paramBytes(program);
    const offset = this.#take(size);
    writeParams(this.#arena.staging, offset, program, values);
    return { buffer: this.#arena.buffer, offset, size };
  }

  /** Uploads a table for the launches of an operator. */
  table(words: Uint32Array<ArrayBuffer>, foreign: boolean): BufferRange {
    const size = Math.max(16, words.byteLength);
    if (Arena.holds(size) && !foreign) {
      const offset = this.#arena.find(words) ?? this.#place(words);
      this.#tabled = true;
      return { buffer: this.#arena.buffer, offset, size };
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ label: "table", size, usage });
    // Deno panics when an empty ArrayBuffer is written
    if (words.length > 0) this.#device.queue.writeBuffer(buffer, 0, words);
    this.#tables.push(buffer);
    return { buffer };
  }

  /** Ends an operator; returns the buffers that its tables had to themselves. */
  end(): readonly GPUBuffer[] {
    const tables = this.#tables;
    this.#tables = [];
    this.#tabled = false;
    return tables;
  }

  /** Writes what the arena holds, ahead of the submission that reads it. */
  flush(): void {
    this.#arena.flush();
  }

  /** Destroys the arena. */
  dispose(): void {
    this.#arena.dispose();
  }

  /** Puts a table into the arena. */
  #place(words: Uint32Array<ArrayBuffer>): number {
    const offset = this.#take(words.byteLength);
    this.#arena.place(words, offset);
    return offset;
  }

  /** Takes a block of the arena; submits what was recorded where the arena is full. */
  #take(bytes: number): number {
    const offset = this.#arena.take(bytes);
    if (offset !== null) return offset;
    if (!this.#submit()) this.#arena.flush();
    // launches to come may bind tables that this operator has put there
    if (this.#tabled) this.#tables.push(this.#arena.leave());
    this.#tabled = false;
    return this.#take(bytes);
  }
}
