/** A map that forgets its oldest entry when it has grown. */
export class Bounded<V> {
  readonly #most: number;
  readonly #entries: Map<string, V> = new Map();

  /** Makes an empty map of at most so many entries. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Entries now. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value of a key, or undefined where there is none. */
  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  /** Adds an entry. */
  set(key: string, value: V): void {
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#most) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}
