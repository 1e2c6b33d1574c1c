import type { TexelFormat } from "./program.ts";
import type { Scratch, ScratchBuffer, ScratchPool, ScratchTexture } from "./scratch.ts";

/** What the operator that is being recorded has borrowed. */
export class Loans {
  readonly #pool: ScratchPool;
  #lent: Scratch[] = [];

  /** Starts without any. */
  constructor(pool: ScratchPool) {
    this.#pool = pool;
  }

  /** Borrows a storage buffer. */
  buffer(bytes: number): ScratchBuffer {
    return this.#noted(this.#pool.buffer(bytes));
  }

  /** Borrows a texture of at least so many texels. */
  texture(texels: number, format: TexelFormat): ScratchTexture {
    return this.#noted(this.#pool.texture(texels, format));
  }

  /** Gives one texture back. */
  giveBack(view: GPUTextureView): void {
    const at = this.#lent.findIndex((loan) => "view" in loan && loan.view === view);
    if (at >= 0) this.#pool.giveBack(this.#lent.splice(at, 1));
  }

  /** Gives all back; or leaves all to the garbage collector, where commands of the caller's need them. */
  end(foreign: boolean): void {
    if (foreign) this.#pool.abandon(this.#lent);
    else this.#pool.giveBack(this.#lent);
    this.#lent = [];
  }

  #noted<S extends Scratch>(loan: S): S {
    this.#lent.push(loan);
    return loan;
  }
}
