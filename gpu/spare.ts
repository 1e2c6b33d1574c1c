/** Memory that may be kept. */
interface Piece {
  /** Bytes. */
  readonly size: number;
  /** Frees it. */
  destroy(): void;
}

/** A piece, and when it became free. */
interface Idle<T> {
  readonly piece: T;
  readonly since: number;
}

/** Submissions for which a free piece, and what binds it, waits for its next use. */
export const PATIENCE = 4;

/** Most bytes of a piece that waits, and of all that do. */
const [PIECE, ALL] = [2 ** 22, 2 ** 26];

/**
 * Memory that nobody uses, by kinds: whoever asks for a kind gets a piece instead of a new one.
 *
 * Within a submission any piece is handed on; small ones wait for the next submissions, too, so that work
 * that recurs, such as the steps of a decoding, allocates nothing after the first.
 */
export class Spare<T extends Piece> {
  readonly #idle: Map<string | number, Idle<T>[]> = new Map();
  /** Bytes of all of them. */
  #bytes = 0;
  #now = 0;

  /**
   * Adds a piece that became free in this submission; or before it began, when no command needs it any
   * more: then it may be destroyed at once.
   */
  add(kind: string | number, piece: T, before = false): void {
    if (before && !this.#isSmall(piece)) return piece.destroy();
    const idle = this.#idle.get(kind);
    const entry = { piece, since: this.#now - Number(before) };
    if (idle === undefined) this.#idle.set(kind, [entry]);
    else idle.push(entry);
    this.#bytes += piece.size;
  }

  /**
   * Takes a piece of a kind: the last one of this submission, which caches may hold, else the first one
   * of those before, so that work that recurs finds its pieces in the same order.
   */
  take(kind: string | number): T | undefined {
    const idle = this.#idle.get(kind);
    const last = idle?.at(-1);
    const piece = (last?.since === this.#now ? idle?.pop() : idle?.shift())?.piece;
    this.#bytes -= piece?.size ?? 0;
    return piece;
  }

  /** Pieces that are free. */
  *[Symbol.iterator](): Iterator<T> {
    for (const idle of this.#idle.values()) for (const { piece } of idle) yield piece;
  }

  /** Ends a submission: destroys what is large or has waited for long. */
  age(): void {
    this.#now++;
    this.#bytes = 0;
    for (const [kind, idle] of this.#idle) {
      const kept = idle.filter(({ piece, since }) => {
        const keeps = this.#now - since <= PATIENCE && this.#isSmall(piece);
        if (keeps) this.#bytes += piece.size;
        else piece.destroy();
        return keeps;
      });
      if (kept.length > 0) this.#idle.set(kind, kept);
      else this.#idle.delete(kind);
    }
  }

  /** Destroys all pieces. */
  clear(): void {
    for (const piece of this) piece.destroy();
    this.#idle.clear();
    this.#bytes = 0;
  }

  /** Whether a piece may wait beside those that do. */
  #isSmall({ size }: T): boolean {
    return size <= PIECE && this.#bytes + size <= ALL;
  }
}
