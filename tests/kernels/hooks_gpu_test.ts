import { assert } from "@std/assert";
import { requestGpu } from "../../mod.ts";
import { adapter } from "../adapter.ts";
import { EXPRESSIONS, expressionShader, type Values } from "./hook_expressions.ts";
import { runShader } from "./run_shader.ts";

const ignore = adapter === null;

const POINTS: readonly Values[] = [
  { s: 0.75, h: 0, i: 5, j: 9, u: 6, m: true },
  { s: -1.625, h: 3, i: 12, j: 7, u: 12, m: false },
  { s: 3.5, h: 7, i: 8, j: 8, u: 20, m: true },
  { s: -17.25, h: 1, i: 1, j: 1000, u: 1, m: true },
];

function packed(): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(24 * POINTS.length));
  POINTS.forEach(({ s, h, i, j, u, m }, row) => {
    view.setFloat32(24 * row, s, true);
    [h, i, j, u, Number(m)].forEach((word, column) =>
      view.setUint32(24 * row + 4 + 4 * column, word, true)
    );
  });
  return view.buffer;
}

Deno.test({
  name: "parseHook() emits code that computes on this adapter what JavaScript computes",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const found = await runShader(gpu.device, expressionShader(), packed(), {
      ...{ rows: POINTS.length, columns: EXPRESSIONS.length },
    });

    POINTS.forEach((point, row) =>
      EXPRESSIONS.forEach(([source, expected, tolerance = 1e-6], column) => {
        const value = found[row * EXPRESSIONS.length + column];
        const wanted = expected(point);
        const error = Math.abs(value - wanted) / Math.max(Math.abs(wanted), 1e-3);
        assert(
          error <= tolerance,
          `${source} at ${JSON.stringify(point)}: ${value}, not ${wanted}`,
        );
      })
    );
  },
});
