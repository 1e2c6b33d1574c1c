import { assert, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { attention, type Gpu, requestGpu, type Tensor } from "../../mod.ts";
import type { CacheKeys } from "../../ops/attention/key_layout.ts";
import { namedPages } from "../../ops/attention/named_pages.ts";
import { cacheTokens } from "../../ops/attention/cache.ts";
import { defaultsOf } from "../../ops/defaults.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import type { AttentionSchedule } from "../../ops/attention/schedule.ts";
import type { TokenPlan } from "../../ops/attention/tokens.ts";
import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { planDevice } from "./plan_device.ts";

const TABLE = Int32Array.of(7, 2, 3, 7, 0, 8);
const NAMED = { pages: [0, 2, 3, 7, 8], table: TABLE };

/** Tokens of a cache of 10 pages of 4 tokens, read from a source. */
function tokensOf(source: "buffer" | "texture", named: CacheKeys["named"]): TokenPlan {
  const keys: CacheKeys = {
    ...{ kind: "cache", layout: "pages", pageSize: 4, pages: 10, capacity: 12 },
    ...{ lengthHeads: 0, tableHeads: 1, named },
  };
  const problem: AttentionProblem = {
    ...{ batch: 2, qLen: 1, kvLen: 12, heads: 4, kvHeads: 2, headDim: 8, valueDim: 8, keys },
    ...{ elem: "f32", scale: 1, band: null, additional: null, softcap: null, bias: null },
    ...{ sinks: null, gates: null, weight: WEIGHTS.softmax, hooks: NO_HOOKS, lse: false },
    ...{ copyable: true, schedule: null },
  };
  const schedule: AttentionSchedule = {
    ...{ kind: "split", threads: 8, rows: 2, parts: 1, exchange: "lanes", source },
  };
  return cacheTokens(problem, keys, schedule, planDevice("llvmpipe").limits);
}

const SLICE = { batch: [0, 2], queries: [0, 1], kvHeads: [0, 2], parts: [0, 1] } as const;

Deno.test("cacheTokens() copies the pages that a table names, and numbers them anew", () => {
  const { copied, tables, params } = tokensOf("texture", NAMED);

  // of 8 rows each
  assertEquals(copied, [0, 2, 3, 7, 8].map((page) => [8 * page, 8 * page + 8]));
  assertEquals(tables, { table: Uint32Array.of(3, 1, 2, 3, 0, 4) });
  assertEquals(params(SLICE).pages, 5);
});

Deno.test("cacheTokens() leaves pages where they are without a table on the host, or a copy", () => {
  for (const plan of [tokensOf("buffer", NAMED), tokensOf("texture", null)]) {
    assertEquals([plan.copied, plan.tables, plan.params(SLICE).pages], [undefined, undefined, 10]);
  }
});

const ignore = adapter === null;
Deno.test("namedPages() names each page once, and none where copies of them cost more than one of all", () => {
  const named = (pages: number, bytes: number) => namedPages(TABLE, [pages, bytes / 4]);

  assertEquals(named(9, 2 ** 18), NAMED);
  // three runs of five pages: three commands, as long as the copy of four pages more takes
  assertEquals(named(9, 24_000), null);
  assertEquals(named(10, 24_000), NAMED);
});

const [PAGES, PAGE, HEADS] = [70, 60, 2];

/** The same attention to pages that a table on the host names, and that one of the device names. */
async function bothWays<T extends "f32" | "f16">(
  gpu: Gpu,
  pages: readonly number[],
  normal: (...shape: number[]) => Tensor<T>,
): Promise<Float32Array[]> {
  using q = normal(2, 3, 2 * HEADS, 40);
  using k = normal(PAGES, PAGE, HEADS, 40);
  using v = normal(PAGES, PAGE, HEADS, 56);
  using uploaded = gpu.tensor(Int32Array.from(pages), [2, pages.length / 2]);
  using computed = gpu.wrap(uploaded.buffer, uploaded.shape, "i32");
  const outputs: Float32Array[] = [];
  for (const pageTable of [uploaded, computed]) {
    using out = attention(q, k, v, { pageTable, schedule: KIND }).out;
    outputs.push(Float32Array.from(await out.read()));
  }
  return outputs;
}

const KIND = "split";
const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

Deno.test({
  name: "attention() reads copies of named pages as it reads all pages, to the bit",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const random = new Random(1);
    const normal = (shape: readonly number[]): number[] =>
      Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
    const makers = [
      (...shape: number[]) => gpu.tensor(Float32Array.from(normal(shape)), shape),
      (...shape: number[]) => gpu.tensor(Float16Array.from(normal(shape)), shape),
    ];
    // neighbours, gaps, pages that both entries see; copies that cross lines of the texture
    const tables = [
      ...[[69, 5, 6, 5], [3, 3], [...count(40), ...count(40)]],
      [...count(7).map((n) => 9 * n), ...count(7).map((n) => 69 - 9 * n)],
    ];
    for (const table of tables) {
      assert(namedPages(Int32Array.from(table), [PAGES, PAGE, HEADS, 40]) !== null);
      for (const make of makers) {
        const [named, all] = await bothWays<"f32" | "f16">(gpu, table, make);
        assert(named.every(Number.isFinite));
        assertEquals(named, all);
      }
    }
  },
});

Deno.test({
  name: "attention() copies no more than the pages that are named",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const zeros = (...shape: number[]) => {
      const size = shape.reduce((a, b) => a * b);
      return gpu.tensor(new Float32Array(size), shape);
    };
    using q = zeros(1, 1, 8, 64);
    using k = zeros(256, 16, 8, 64);
    using v = zeros(256, 16, 8, 64);
    using pageTable = gpu.tensor(Int32Array.from(count(32), (n) => 255 - n), [1, 32]);

    const { bytes } = gpu.memory();
    using _out = attention(q, k, v, { pageTable }).out;
    const lent = gpu.memory().peakBytes - bytes;

    const eighth = 4 * (k.size + v.size) / 8;
    if (defaultsOf(gpu.adapter).source === "texture") assert(lent >= eighth, `lent ${lent} bytes`);
    assert(lent < 1.5 * eighth, `lent ${lent} bytes`);
  },
});

Deno.test({
  name: "attention() follows a wrapped table that is written to elsewhere",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const random = new Random(1);
    const normal = (...shape: number[]) => {
      const size = shape.reduce((a, b) => a * b);
      return gpu.tensor(Float32Array.from({ length: size }, () => random.normal()), shape);
    };
    using q = normal(1, 1, 4, 64);
    using k = normal(16, 64, 4, 64);
    using v = normal(16, 64, 4, 64);
    using first = gpu.tensor(Int32Array.of(3, 9, 4), [1, 3]);
    using second = gpu.tensor(Int32Array.of(7, 0, 15), [1, 3]);
    using table = gpu.wrap(first.buffer, [1, 3], "i32");
    const outputOf = async (pageTable: Tensor) => {
      using out = attention(q, k, v, { pageTable }).out;
      return await out.read();
    };

    assertClose("before", await outputOf(table), await outputOf(first), { ratio: 1e-6 });
    gpu.device.queue.writeBuffer(table.buffer, 0, Int32Array.of(7, 0, 15));
    assertClose("behind", await outputOf(table), await outputOf(second), { ratio: 1e-6 });
  },
});
