import type { BufferRange, Launch, Operation } from "./operation.ts";
import type { Program } from "./program.ts";

/** Stands in for the recorder: operators run through, their programs are noted, nothing is launched. */
export class Rehearsal implements Operation {
  /** What would have been launched, by its text. */
  readonly programs: Map<string, Program> = new Map();
  readonly #range: BufferRange;
  readonly #view: GPUTextureView;

  /** Starts without a program; lends the same buffer and texture for any. */
  constructor(buffer: GPUBuffer, view: GPUTextureView) {
    this.#range = { buffer };
    this.#view = view;
  }

  launch({ program, grid }: Launch): void {
    if (!grid.includes(0)) this.programs.set(program.code, program);
  }

  scratch(): BufferRange {
    return this.#range;
  }

  texture(): GPUTextureView {
    return this.#view;
  }

  giveBack(): void {}

  table(): BufferRange {
    return this.#range;
  }

  copy(): void {}
}
