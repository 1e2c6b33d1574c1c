import { checkCells, type Panel } from "./picture.ts";

/**
 * A panel with a row for each query and a column for each key, or for every `step`-th of them;
 * `rowOf` gives a query's paints.
 */
export function matrixPanel(
  queries: number,
  keys: number,
  rowOf: (query: number) => (key: number) => number,
  step = 1,
): Panel {
  const [rows, columns] = [queries, keys].map((count) => Math.ceil(count / step));
  checkCells([rows, columns]);
  const cells = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const paintOf = rowOf(row * step);
    for (let column = 0; column < columns; column++) {
      cells[row * columns + column] = paintOf(column * step);
    }
  }
  const unit = step === 1 ? "" : ` / ${step}`;
  return {
    caption: "",
    axes: { rows: `query${unit}`, columns: `key${unit}` },
    rows,
    columns,
    cells,
  };
}
