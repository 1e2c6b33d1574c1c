import { assert, assertEquals, assertThrows } from "@std/assert";
import { attentionProblemOf } from "../../ops/attention/problem.ts";
import { length } from "../../ops/attention/tokens.ts";
import { planStatistics, type StatisticsDevice } from "../../ops/statistics/plan.ts";
import type { StatisticsProblem } from "../../ops/statistics/problem.ts";
import { promisedDevice } from "./plan_device.ts";

/** A device that has no more than WebGPU promises, with changes. */
function device(
  { software = false, ...limits }: Partial<StatisticsDevice["limits"]> & { software?: boolean } =
    {},
): StatisticsDevice {
  const driver = software ? "llvmpipe" : "nvidia";
  return { ...promisedDevice(driver, limits), maxBindings: 8 };
}

/** All statistics of T = S tokens in 4 heads of 64 channels, with changes. */
function problem(
  tokens: number,
  wanted: Partial<StatisticsProblem["wanted"]> = {},
): StatisticsProblem {
  return {
    scores: attentionProblemOf({
      ...{ batch: 1, qLen: tokens, kvLen: tokens, heads: 4, kvHeads: 2, headDim: 64 },
      ...{ valueDim: 64, dtype: "f32" },
    }),
    wanted: {
      ...{ lse: true, entropy: true, argMax: true, topK: 4 },
      ...{ columnSums: true, diagonalSums: true, blockMax: { queryBlock: 64, keyBlock: 64 } },
      ...wanted,
    },
    schedule: null,
  };
}

Deno.test("planStatistics() walks the pairs once for all statistics of rows, and for each other one", () => {
  const { passes } = planStatistics(problem(1000), device());

  assertEquals(passes.map(({ kind }) => kind), ["rows", "columns", "diagonals", "blocks"]);
  assert(passes.every(({ slices }) => slices.length === 1));
});

Deno.test("planStatistics() walks the pairs twice for rows where a program binds few buffers", () => {
  const { passes } = planStatistics(problem(1000), { ...device(), maxBindings: 5 });

  assertEquals(passes.map(({ kind }) => kind).slice(0, 3), ["rows", "rows", "columns"]);
  for (const { program } of passes) assert(program.bindings.length <= 5, program.label);
});

Deno.test("planStatistics() hands tokens round in subgroups on software adapters alone", () => {
  const exchanges = [false, true].map((software) =>
    planStatistics(problem(1000), device({ software })).passes[0].config.tile.exchange
  );

  assertEquals(exchanges, ["stage", "shuffle"]);
});

Deno.test("planStatistics() broadcasts tokens where shuffles of so many lanes are slow", () => {
  const sixteen = { ...promisedDevice("llvmpipe", { lanes: 16 }), maxBindings: 8 };
  const { passes } = planStatistics(problem(1000), sixteen);

  assertEquals(passes[0].config.tile.exchange, "broadcast");
});

Deno.test("planStatistics() cuts passes along what their loops walk", () => {
  const { passes } = planStatistics(
    problem(200_000, { blockMax: null }),
    device({ software: true }),
  );
  const [rows, columns, diagonals] = passes.map(({ slices }) => slices);

  assert(new Set(rows.map(({ parts }) => parts[0])).size > 1);
  assert(new Set(columns.map(({ queries }) => queries[0])).size > 1);
  assert(new Set(diagonals.map(({ parts }) => parts[0])).size > 1);
});

Deno.test("planStatistics() keeps every dispatch to the grid and covers every pair once", () => {
  const tokens = 5000;
  const { passes } = planStatistics(
    problem(tokens, { blockMax: { queryBlock: 3, keyBlock: 7 } }),
    device({ maxComputeWorkgroupsPerDimension: 500 }),
  );

  for (const { kind, slices, config } of passes) {
    const pairs = slices.reduce(
      (sum, { queries, parts, kvHeads }) => sum + length(queries) * length(parts) * length(kvHeads),
      0,
    );
    assertEquals(pairs, 2 * tokens ** 2, kind);
    const held = config.tile.threads * config.tile.rows;
    if (kind === "rows") assert(slices.every(({ queries }) => length(queries) <= 500 * held));
  }
});

Deno.test("planStatistics() throws where the sums of diagonals fit no binding", () => {
  assertThrows(
    () => planStatistics(problem(100_000), device({ maxStorageBufferBindingSize: 2 ** 20 })),
    RangeError,
    "the sums of diagonals must fit one binding",
  );
});
