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
