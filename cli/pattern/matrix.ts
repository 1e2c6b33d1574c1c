import { checkCells, type Panel } from "./picture.ts";

/** A panel with a row for each query and a column for each key; `rowOf` gives a query's paints. */
export function matrixPanel(
  queries: number,
  keys: number,
  rowOf: (query: number) => (key: number) => number,
): Panel {
  checkCells([queries, keys]);
  const cells = new Uint8Array(queries * keys);
  for (let query = 0; query < queries; query++) {
    const paintOf = rowOf(query);
    for (let key = 0; key < keys; key++) cells[query * keys + key] = paintOf(key);
  }
  const axes = { rows: "query", columns: "key" };
  return { caption: "", axes, rows: queries, columns: keys, cells };
}
