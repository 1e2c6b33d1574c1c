import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { statisticsCase, statisticsError } from "../../cli/statistics_cases.ts";
import {
  attention,
  attentionStatistics,
  type AttentionStatisticsOptions,
  type Gpu,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { attentionStatistics as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

function normal(gpu: Gpu, shape: readonly number[], seed: number): Tensor<"f32"> {
  const random = new Random(seed);
  const length = shape.reduce((product, size) => product * size, 1);
  return gpu.tensor(Float32Array.from({ length }, () => random.normal()), shape);
}

Deno.test({
  name: "attentionStatistics() matches the reference with grouped heads, windows, hooks and f16",
  ignore,
  async fn() {
    const parts = [
      { options: { causal: true } },
      { options: { window: { left: 7, right: 2 } }, hooks: true },
      { dtype: "f16", bias: [true, true, true] },
    ] as const;
    for (const part of parts) {
      for (const schedule of ["subgroup", "workgroup"] as const) {
        if (schedule === "subgroup" && theGpu().features.subgroups === null) continue;
        assert(await statisticsError(theGpu(), statisticsCase({ ...part, schedule })) < 1e-5);
      }
    }
  },
});

Deno.test({
  name: "attentionStatistics() matches the reference where limits cut the work",
  ignore,
  async fn() {
    // pieces of a few tiles for each loop, and some rows for each binding
    using gpu = await requestGpu({
      poison: true,
      limits: { maxLoopIterations: 200, maxStorageBufferBindingSize: 2 ** 16 },
    });
    for (const schedule of ["subgroup", "workgroup"] as const) {
      if (schedule === "subgroup" && gpu.features.subgroups === null) continue;
      const c = statisticsCase({
        ...{ sizes: [2, 190, 210, 4, 2, 16], schedule, options: { window: { left: 90 } } },
        wanted: {
          ...{ lse: true, entropy: true, argMax: true, topK: 3, columnSums: true },
          ...{ diagonalSums: true, blockMax: { queryBlock: 150, keyBlock: 170 } },
        },
      });
      assert(await statisticsError(gpu, c) < 1e-5);
    }
  },
});

Deno.test({
  name: "attentionStatistics() returns what is asked for and nothing else",
  ignore,
  async fn() {
    const gpu = theGpu();
    using q = normal(gpu, [1, 20, 2, 8], 1);
    using k = normal(gpu, [1, 30, 1, 8], 2);
    const before = gpu.memory().tensors;

    const { entropy, ...others } = attentionStatistics(q, k, { entropy: true });

    assertEquals(others, {});
    assertEquals(entropy?.shape, [1, 20, 2]);
    assertEquals(gpu.memory().tensors, before + 1);
    const expected = reference(
      { data: await q.read(), shape: [1, 20, 2, 8] },
      { data: await k.read(), shape: [1, 30, 1, 8] },
      { entropy: true },
    );
    assertClose("entropy", await entropy!.read(), expected.entropy!.data, { ratio: 1e-5 });
    entropy?.dispose();
  },
});

Deno.test({
  name: "attentionStatistics() has the lse of attention() and weights that sum to one a row",
  ignore,
  async fn() {
    const gpu = theGpu();
    using q = normal(gpu, [1, 100, 2, 16], 3);
    using k = normal(gpu, [1, 100, 2, 16], 4);
    const options = { causal: true, lse: true, softcap: 4 } as const;
    const { out, lse } = attention(q, k, k, options);
    const found = attentionStatistics(q, k, { ...options, columnSums: true, diagonalSums: true });

    assertClose("lse", await found.lse!.read(), await lse!.read(), { ratio: 1e-6 });
    const total = (x: Float32Array): number => x.reduce((sum, weight) => sum + weight, 0);
    assert(Math.abs(total(await found.columnSums!.read()) - 200) < 1e-3);
    assert(Math.abs(total(await found.diagonalSums!.read()) - 200) < 1e-3);
    for (const x of [out, lse, found.lse, found.columnSums, found.diagonalSums]) x?.dispose();
  },
});

Deno.test({
  name: "attentionStatistics() gives equal scores to the smaller key, and equal bits in two calls",
  ignore,
  async fn() {
    const gpu = theGpu();
    using q = normal(gpu, [1, 70, 1, 8], 5);
    using zeros = gpu.tensor(new Float32Array(90 * 8), [1, 90, 1, 8]);
    using k = normal(gpu, [1, 90, 1, 8], 6);

    const { topK, argMax } = attentionStatistics(q, zeros, { topK: 3, argMax: true });
    const [one, two] = [1, 2].map(() =>
      attentionStatistics(q, k, { columnSums: true, diagonalSums: true })
    );

    assertEquals([...(await topK!.indices.read()).subarray(0, 3)], [0, 1, 2]);
    assertEquals(new Set(await argMax!.read()), new Set([0]));
    assertEquals(await one.columnSums!.read(), await two.columnSums!.read());
    assertEquals(await one.diagonalSums!.read(), await two.diagonalSums!.read());
    const tensors = [topK!.indices, topK!.values, argMax!];
    for (const x of [...tensors, ...Object.values(one), ...Object.values(two)]) x.dispose();
  },
});

Deno.test({
  name: "attentionStatistics() uses scratch that grows with T + S and not with T x S",
  ignore,
  async fn() {
    const scratchOf = async (length: number): Promise<number> => {
      using gpu = await requestGpu();
      using q = normal(gpu, [1, length, 1, 8], 7);
      const found = attentionStatistics(q, q, {
        ...{ causal: true, entropy: true, argMax: true, columnSums: true, diagonalSums: true },
      });
      await found.entropy?.read();
      const { peakBytes, bytes } = gpu.memory();
      for (const tensor of Object.values(found)) tensor.dispose();
      return peakBytes - bytes;
    };
    const [short, long] = [await scratchOf(2048), await scratchOf(4096)];

    assert(long < 2.5 * short, `${short} bytes became ${long}`);
    assert(long < 4096 * 4096, `${long} bytes`);
  },
});

const REFUSED: readonly [string, AttentionStatisticsOptions, string][] = [
  ["nothing is asked for", {}, "topK, blockMax must be asked for: none is"],
  ["topK is 0", { topK: 0 }, "topK must be an integer of 1 to 64: topK is 0"],
  ["topK is 65", { topK: 65 }, "topK must be an integer of 1 to 64: topK is 65"],
  ["a flag is a number", { lse: 1 as unknown as boolean }, "lse must be true or false: lse is 1"],
  [
    "a block is empty",
    { blockMax: { queryBlock: 0, keyBlock: 4 } },
    "blockMax.queryBlock must be an integer >= 1: it is 0",
  ],
  [
    "an option is unknown",
    { columnSum: true } as AttentionStatisticsOptions,
    '"columnSum" is not, the nearest is "columnSums"',
  ],
  ["the cap is 0", { lse: true, softcap: 0 }, "softcap must be a finite f32 > 0"],
  [
    "the schedule is unknown",
    { lse: true, schedule: "split" as "workgroup" },
    "schedule must be one of subgroup, workgroup: schedule is split",
  ],
];

for (const [why, options, message] of REFUSED) {
  Deno.test({
    name: `attentionStatistics() throws where ${why}`,
    ignore,
    fn() {
      using q = theGpu().tensor(new Float32Array(8), [1, 2, 1, 4]);
      assertThrows(() => attentionStatistics(q, q, options), Error, message);
    },
  });
}

Deno.test({
  name: "attentionStatistics() throws where q and k do not belong together",
  ignore,
  async fn() {
    const gpu = theGpu();
    using q = gpu.tensor(new Float32Array(16), [1, 2, 2, 4]);
    using other = gpu.tensor(new Float32Array(24), [1, 2, 3, 4]);
    using narrow = gpu.tensor(new Float32Array(8), [1, 2, 2, 2]);
    using flat = gpu.tensor(new Float32Array(8), [2, 4]);
    const call = (k: Tensor<"f32">) => () => attentionStatistics(q, k, { lse: true });

    assertThrows(call(other), TypeError, "heads of q must be a multiple");
    assertThrows(call(narrow), TypeError, "q and k must share a head dim");
    assertThrows(call(flat), TypeError, "k must have 4 axes");
    using small = await requestGpu({ limits: { maxStorageBufferBindingSize: 2 ** 16 } });
    using long = small.tensor(new Float32Array(300 * 4), [1, 300, 1, 4]);
    assertThrows(
      () => attentionStatistics(long, long, { blockMax: { queryBlock: 1, keyBlock: 1 } }),
      RangeError,
      "blockMax must fit one binding: 360000 bytes are needed, the device allows 65536",
    );
  },
});
