/** Pages that a table names. */
export interface NamedPages {
  /** Each once, in ascending order. */
  readonly pages: readonly number[];
  /** The table. */
  readonly table: Int32Array;
}

/** Bytes that are copied in the time that one more command takes. */
const COMMAND_BYTES = 2 ** 15;

/** The pages of keys `[pages, page size, Hkv, D]` that a table names, or null where a copy of all is cheaper. */
export function namedPages(table: Int32Array, shape: readonly number[]): NamedPages | null {
  const pages = [...new Set(table)].sort((a, b) => a - b);
  const runs = pages.filter((page, i) => i === 0 || pages[i - 1] < page - 1).length;
  const pageBytes = 4 * shape.slice(1).reduce((a, b) => a * b, 1);
  const own = runs * COMMAND_BYTES + pages.length * pageBytes;
  return own < shape[0] * pageBytes ? { pages, table } : null;
}

/** The table of a copy that holds the named pages alone. */
export function placesOf({ pages, table }: NamedPages): Uint32Array<ArrayBuffer> {
  const places = new Map(pages.map((page, place) => [page, place]));
  return Uint32Array.from(table, (page) => places.get(page) ?? 0);
}
