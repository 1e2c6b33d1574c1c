interface Entry<V> {
  readonly value: V;
  readonly weight: number;
}

/** A map that forgets its oldest entries when it has grown. */
export class Bounded<V> {
  readonly #most: number;
  readonly #entries: Map<string, Entry<V>> = new Map();
  #weight = 0;

  /** Makes an empty map of entries that weigh at most so much together. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Entries now. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value of a key, or undefined where there is none. */
  get(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Adds an entry. */
  set(key: string, value: V, weight = 1): void {
    this.#weight += weight - (this.#entries.get(key)?.weight ?? 0);
    this.#entries.set(key, { value, weight });
    for (const [oldest, entry] of this.#entries) {
      if (this.#weight <= this.#most) return;
      this.#entries.delete(oldest);
      this.#weight -= entry.weight;
    }
  }
}
