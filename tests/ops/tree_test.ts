import { assert, assertEquals, assertThrows } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  requestGpu,
  selectTree,
  type SelectTreeOptions,
  type Tensor,
} from "../../mod.ts";
import { planTree } from "../../ops/tree/plan.ts";
import { treeProblem } from "../../ops/tree/problem.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { planLimits } from "./plan_device.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** Integers, whose products are exact in f32 and often equal. */
function integers(dtype: "f32" | "f16", shape: readonly number[]): HostTensor {
  const random = new Random(shape[1]);
  return hostTensor(dtype, shape, () => random.integer(-3, 3));
}

/** Compares a selection with its oracle. */
async function assertSelection(
  gpu: Gpu,
  [q, k]: readonly HostTensor[],
  options: SelectTreeOptions,
): Promise<void> {
  const [queries, keys] = [q, k].map(({ data, shape }) => gpu.tensor(data, shape));
  const before = gpu.memory().tensors;

  const { indices, counts } = selectTree(queries, keys, options);

  assertEquals(gpu.memory().tensors, before + 2);
  const expected = reference.selectTree(q, k, options);
  assertEquals(indices.shape, expected.indices.shape);
  assertEquals(await indices.read(), expected.indices.data);
  assertEquals(await counts.read(), expected.counts.data);
  for (const tensor of [queries, keys, indices, counts]) tensor.dispose();
}

const SMALL = { queryBlock: 16, keyBlock: 8 };

for (const dtype of ["f32", "f16"] as const) {
  Deno.test({
    name: `selectTree() agrees with its oracle in ${dtype}`,
    ignore,
    async fn() {
      const gpu = theGpu();
      const cases: readonly (readonly [T: number, S: number, D: number, SelectTreeOptions])[] = [
        [130, 131, 8, { ...SMALL, keep: 2 }],
        [77, 300, 6, { ...SMALL, keep: 3, causal: true, branches: 3 }],
        [77, 300, 12, { ...SMALL, keep: 9, causal: true, sinks: 2, window: 1 }],
        [77, 300, 12, { ...SMALL, keep: 5, causal: "top-left", window: 0 }],
        [300, 77, 8, { ...SMALL, keep: 4, causal: true, sinks: 1, window: 0 }], // some see no key
        [1, 1000, 64, { keyBlock: 4, keep: 70, representative: "max" }],
        [33, 64, 8, { ...SMALL, keep: 8, representative: "mean" }], // all leaves, sorted
      ];
      for (const [T, S, D, options] of cases) {
        const [q, k] = [integers(dtype, [2, T, 4, D]), integers(dtype, [2, S, 2, D])];
        await assertSelection(gpu, [q, k], options);
      }
      assertEquals(gpu.memory().tensors, 0);
    },
  });
}

Deno.test({
  name: "selectTree() finds nothing where there are no keys, and needs no queries",
  ignore,
  async fn() {
    const sizes: readonly (readonly [T: number, S: number])[] = [[20, 0], [0, 20], [0, 0]];
    for (const [T, S] of sizes) {
      const inputs = [integers("f32", [1, T, 2, 8]), integers("f32", [1, S, 2, 8])];
      await assertSelection(theGpu(), inputs, { keep: 2, causal: true });
    }
  },
});

Deno.test({
  name: "selectTree() cuts what one binding does not hold",
  ignore,
  async fn() {
    using gpu = await requestGpu({ limits: { maxStorageBufferBindingSize: 4096 } });
    const [q, k] = [integers("f32", [5, 60, 1, 8]), integers("f32", [5, 60, 1, 8])];
    const options = { keep: 40, queryBlock: 1, keyBlock: 1, causal: true };
    const tensors = [q, k].map(({ data, shape }) => gpu.tensor(data, shape));
    const { problem } = treeProblem(tensors[0], tensors[1], options);
    assert(planTree(problem, gpu.limits).slices.length > 5);

    await assertSelection(gpu, [q, k], options);
  },
});

Deno.test({
  name: "selectTree() keeps no score of -Infinity or NaN but sinks and a window, ahead of Infinity",
  ignore,
  async fn() {
    const q: HostTensor = { data: Float32Array.of(1, 1), shape: [1, 2, 1, 1] };
    const scores = [-Infinity, 2, NaN, Infinity, 3, -Infinity, Infinity, NaN];
    const k: HostTensor = { data: Float32Array.from(scores), shape: [1, 8, 1, 1] };
    const options = { queryBlock: 2, keyBlock: 1, branches: 8 };
    const [queries, keys] = [q, k].map(({ data, shape }) => theGpu().tensor(data, shape));
    const cases: readonly (readonly [SelectTreeOptions, number[]])[] = [
      [{ ...options, keep: 5 }, [3, 6, 4, 1, -1]],
      [{ ...options, keep: 4, sinks: 1, window: 0 }, [0, 6, 7, 3]],
    ];
    for (const [selected, expected] of cases) {
      const { indices, counts } = selectTree(queries, keys, selected);
      assertEquals([...await indices.read()], expected);
      indices.dispose();
      counts.dispose();
      assertEquals([...reference.selectTree(q, k, selected).indices.data], expected);
    }
    queries.dispose();
    keys.dispose();
  },
});

Deno.test({
  name: "selectTree() asks no more of a few queries than they need",
  ignore,
  async fn() {
    const inputs = [integers("f32", [1, 1, 2, 8]), integers("f32", [1, 200, 2, 8])];

    await assertSelection(theGpu(), inputs, { keep: 1, window: 0 }); // queries of two blocks of keys
    await assertSelection(theGpu(), inputs, { keep: 2, queryBlock: 2 ** 30 });
  },
});

Deno.test({
  name: "selectTree() may be recorded into an encoder that runs later",
  ignore,
  async fn() {
    const gpu = theGpu();
    const inputs = [integers("f32", [1, 100, 2, 8]), integers("f32", [1, 200, 2, 8])];
    const options = { ...SMALL, keep: 3 };
    const [q, k] = inputs.map(({ data, shape }) => gpu.tensor(data, shape));
    const encoder = gpu.device.createCommandEncoder();

    const { indices, counts } = gpu.record(encoder, () => selectTree(q, k, options));
    const other = selectTree(k, q, options); // scratch of its own
    await other.indices.read();
    gpu.device.queue.submit([encoder.finish()]);

    const expected = reference.selectTree(inputs[0], inputs[1], options);
    assertEquals(await indices.read(), expected.indices.data);
    const all = [q, k, indices, counts, other.indices, other.counts];
    for (const tensor of all) tensor.dispose();
  },
});

Deno.test({
  name: "selectTree() throws before it computes",
  ignore,
  fn() {
    const gpu = theGpu();
    using own = new DisposableStack();
    const zeros = (...shape: number[]): Tensor =>
      own.use(gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape));
    const [q, k] = [zeros(1, 300, 2, 4), zeros(1, 300, 1, 4)];
    const refusals: readonly (readonly [() => unknown, string])[] = [
      [
        () => selectTree(zeros(3, 4), k, { keep: 1 }),
        "q must have 4 axes [B, T, Hq, D]: q is [3,4]",
      ],
      [() => selectTree(q, zeros(1, 3, 2, 5), { keep: 1 }), "k must be [1,3,2,4]: k is [1,3,2,5]"],
      [
        () => selectTree(q, zeros(1, 3, 3, 4), { keep: 1 }),
        "Hq must be a multiple of Hkv: Hq is 2, Hkv is 3",
      ],
      [
        () => selectTree(q, k, {} as SelectTreeOptions),
        "keep must be an integer from 1 to 2^30: keep is undefined",
      ],
      [
        () => selectTree(q, k, { keep: 2, branches: 1 }),
        "branches must be an integer from 2 to 2^30: branches is 1",
      ],
      [
        () => selectTree(q, k, { keep: 2, representative: "median" as "mean" }),
        "representative must be one of first, last, mean, max, min: representative is median",
      ],
      [
        () => selectTree(q, k, { keep: 2, causal: 1 as unknown as boolean }),
        "causal must be one of true, false, top-left: causal is 1",
      ],
      [
        () => selectTree(q, k, { keep: 3, sinks: 1, window: 1 }),
        "keep must be at least what is always kept, 4 blocks: keep is 3, sinks is 1, window is 1, a block of queries stands at up to 2",
      ],
      [
        () => selectTree(q, k, { keep: 2, window: 0.5 }),
        "window must be an integer from 0 to 2^30: window is 0.5",
      ],
    ];
    for (const [call, message] of refusals) {
      const error = assertThrows(call, Error);
      assertEquals(error.message.replace("Cannot select by a tree as ", ""), message);
    }
    const half = own.use(gpu.tensor(new Float16Array(300 * 4), [1, 300, 1, 4]));
    assertThrows(() => selectTree(q, half, { keep: 1 }), TypeError, "k must be f32: k is f16");
  },
});

Deno.test({
  name: "selectTree() throws before it makes a tensor where a node has too many keys",
  ignore,
  async fn() {
    using gpu = await requestGpu({ limits: { maxStorageBufferBindingSize: 4096 } });
    const [q, k] = [1, 500].map((length) =>
      gpu.tensor(new Float32Array(length * 8), [1, length, 1, 8])
    );
    const before = gpu.memory();

    const call = () => selectTree(q, k, { keep: 1, keyBlock: 250 });
    assertThrows(call, RangeError, "Cannot plan pooling as a block must have at most");

    assertEquals(gpu.memory(), before);
  },
});

Deno.test({
  name: "planTree() throws where a level has more nodes than a grid",
  ignore,
  fn() {
    using own = new DisposableStack();
    const [q, k] = [1, 300].map((length) =>
      own.use(theGpu().tensor(new Float32Array(length), [1, length, 1, 1]))
    );
    const { problem } = treeProblem(q, k, { keep: 3, keyBlock: 1, branches: 100 });
    const limits = planLimits({ maxComputeWorkgroupsPerDimension: 9 });

    const error = assertThrows(() => planTree(problem, limits), RangeError);

    assertEquals(
      error.message,
      "Cannot plan a selection by a tree as a block of queries must score at most 288 nodes of a level: it has 300",
    );
  },
});
