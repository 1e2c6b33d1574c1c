import { kindOf } from "./dtype.ts";

/**
 * Refuses options that an operator does not have.
 *
 * @param action for the message, for example `"compute attention"`
 * @param options what the caller gave
 * @param known the names there are
 */
export function checkOptionNames(
  action: string,
  options: object,
  known: readonly string[],
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${action} as options must be an object: options is ${kindOf(options)}`,
    );
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new TypeError(
      `Cannot ${action} as options must be known: "${name}" is not, the nearest is "${
        nearest(name, known)
      }"`,
    );
  }
}

/** The known word with the fewest edits to a given one. */
export function nearest(word: string, known: readonly string[]): string {
  const distances = known.map((candidate) => editDistance(word, candidate));
  return known[distances.indexOf(Math.min(...distances))] ?? "";
}

/** Levenshtein distance, ignoring case. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1] + Number(a[i - 1].toLowerCase() !== b[j - 1].toLowerCase());
      current.push(Math.min(replaced, previous[j] + 1, current[j - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}
