import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  argSort,
  attention,
  attentionStatistics,
  blockMapFromIndices,
  gatherTokens,
  type Gpu,
  poolTokens,
  requestGpu,
  scatterTokens,
  selectThreshold,
  selectTopK,
  selectTopP,
  type Tensor,
} from "../../mod.ts";
import { planSelect } from "../../ops/select/plan.ts";
import type { SelectProblem } from "../../ops/select/problem.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { planLimits } from "./plan_device.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** A test whose tensors are all freed when it ends. */
function test(name: string, body: (gpu: Gpu, own: DisposableStack) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      {
        using own = new DisposableStack();
        await body(theGpu(), own);
      }
      assertEquals(theGpu().memory().tensors, 0);
    },
  });
}

const inf = Infinity;

test("selections count nothing in rows without elements", async (gpu, own) => {
  for (const places of [0, 2]) {
    const scores = own.use(gpu.tensor(new Float32Array(0), [3, 0]));
    const max = places;
    const selections = [
      selectTopK(scores, places),
      selectTopP(scores, 1, { max }),
      selectTopP(scores, 0.5, { max }),
      selectThreshold(scores, 0, { max }),
    ];
    for (const selection of selections) {
      Object.values(selection).forEach((tensor) => own.use(tensor as Tensor));
      assertEquals(await selection.indices.read(), new Int32Array(3 * places).fill(-1));
      assertEquals(await selection.counts.read(), Int32Array.of(0, 0, 0));
    }
  }
});

test(
  "selectTopK() orders by score and place, and never selects -Infinity or NaN",
  async (gpu, own) => {
    for (const type of [Float32Array, Float16Array]) {
      const data = type.of(
        -1,
        3,
        NaN,
        3,
        -inf,
        inf,
        -0,
        0,
        -1,
        NaN,
        -inf,
        -inf,
        -inf,
        -inf,
        1,
        NaN,
      );
      const x = own.use(gpu.tensor(data as Float32Array, [2, 8]));

      const { indices, counts } = selectTopK(x, 7);

      own.use(indices);
      assertEquals([...await indices.read()], [5, 1, 3, 6, 7, 0, -1, 6, 0, -1, -1, -1, -1, -1]);
      assertEquals([...await own.use(counts).read()], [6, 2]);
    }
  },
);

test(
  "selectTopK() agrees with its oracle in 70,000 elements and the last of equals",
  async (gpu, own) => {
    const random = new Random(1);
    const data = Float32Array.from({ length: 70_000 }, () => random.integer(0, 20));
    const x = own.use(gpu.tensor(data, [1, 1, 70_000]));

    for (const k of [1, 3400, 1024, 70_000]) {
      const { indices, counts } = selectTopK(x, k);
      const expected = reference.selectTopK({ data, shape: [70_000] }, k);

      assertEquals(await own.use(indices).read(), expected.indices.data);
      assertEquals(indices.shape, [1, 1, k]);
      assertEquals([...await own.use(counts).read()], [k]);
    }
  },
);

test("selectTopK() and its siblings take rows without elements, and no rows", async (gpu, own) => {
  const empty = own.use(gpu.tensor(new Float32Array(0), [2, 0]));
  const none = own.use(gpu.tensor(new Float32Array(0), [0, 3]));
  const filled = selectTopK(empty, 2);
  const results = [
    filled,
    ...[selectTopK(none, 2), selectTopP(empty, 0.5), selectThreshold(none, 1, { max: 4 })],
    selectTopK(own.use(gpu.tensor(Float32Array.of(1, 2), [2, 1])), 0),
  ];
  for (const result of results) Object.values(result).forEach((tensor) => own.use(tensor));

  assertEquals([...await filled.indices.read()], [-1, -1, -1, -1]);
  assertEquals(results.map(({ indices }) => indices.shape), [[2, 2], [0, 2], [2, 0], [0, 4], [
    2,
    0,
  ]]);
  assertEquals([...await results[4].counts.read()], [0, 0]);
});

test("selectThreshold() tells how many max leaves out", async (gpu, own) => {
  const x = own.use(gpu.tensor(Float32Array.of(1, 5, 2, 5, -inf, 0, 1, 1), [2, 4]));

  for (
    const [t, max, indices, counts, found] of [
      [1, 2, [1, 3, 2, 3], [2, 2], [4, 2]],
      [-inf, 4, [1, 3, 2, 0, 2, 3, 1, -1], [4, 3], [4, 3]],
      [6, 1, [-1, -1], [0, 0], [0, 0]],
      [-0, 3, [1, 3, 2, 2, 3, 1], [3, 3], [4, 3]],
    ] as const
  ) {
    const selected = selectThreshold(x, t, { max });
    assertEquals([...await own.use(selected.indices).read()], [...indices]);
    assertEquals([...await own.use(selected.counts).read()], [...counts]);
    assertEquals([...await own.use(selected.found).read()], [...found]);
  }
});

test("selectTopP() selects the fewest that have the share", async (gpu, own) => {
  const random = new Random(2);
  const rows: readonly (readonly number[])[] = [
    ...[[1, 4, 1, 2], [0, 3, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1e-3, 1, 1e-3, 2]],
    Array.from({ length: 4 }, () => random.next()),
  ];
  const data = Float32Array.from(rows.flat());
  const x = own.use(gpu.tensor(data, [rows.length, 4]));

  for (const p of [0, 0.25, 0.5, 0.51, 0.875, 1]) {
    for (const max of [4, 1]) {
      const { indices, counts, found } = selectTopP(x, p, { max });
      const expected = reference.selectTopP({ data, shape: [rows.length, 4] }, p, { max });

      assertEquals(await own.use(indices).read(), expected.indices.data, `p ${p}`);
      assertEquals(await own.use(counts).read(), expected.counts.data, `p ${p}`);
      assertEquals(await own.use(found).read(), expected.found.data, `p ${p}`);
    }
  }
});

test("selectTopP() returns the same bits whatever rows are beside a row", async (gpu, own) => {
  const random = new Random(3);
  const data = Float32Array.from({ length: 3 * 5000 }, () => random.next() ** 8);
  const all = selectTopP(own.use(gpu.tensor(data, [3, 5000])), 0.7);
  const last = selectTopP(own.use(gpu.tensor(data.slice(10_000), [5000])), 0.7);
  for (const tensor of [...Object.values(all), ...Object.values(last)]) own.use(tensor);

  assertEquals((await all.indices.read()).slice(10_000), await last.indices.read());
  assertEquals((await all.found.read())[2], (await last.found.read())[0]);
});

test("argSort() sorts along any axis, stably, NaN last", async (gpu, own) => {
  const x = own.use(gpu.tensor(Float32Array.of(2, NaN, -0, 2, 0, -inf), [6]));
  const y = own.use(gpu.tensor(Int32Array.of(3, -1, 0, 3, -2, 0, 1, -2), [4, 2]));

  assertEquals([...await own.use(argSort(x)).read()], [5, 2, 4, 0, 3, 1]);
  assertEquals([...await own.use(argSort(x, { descending: true })).read()], [0, 3, 2, 4, 5, 1]);
  assertEquals(
    [...await own.use(argSort(y, { axis: 0 })).read()],
    [2, 3, 1, 0, 3, 2, 0, 1],
  );
});

test("argSort() agrees with its oracle in lines of several tiles", async (gpu, own) => {
  const random = new Random(4);
  for (const [rows, width] of [[3, 1023], [2, 1025], [1, 5000], [70, 3]]) {
    const x = hostTensor("f16", [rows, width], () => random.integer(-30, 30));
    const sorted = argSort(own.use(gpu.tensor(x.data, x.shape)));

    assertEquals(await own.use(sorted).read(), reference.argSort(x).data);
  }
});

test("gatherTokens() and scatterTokens() move tokens there and back", async (gpu, own) => {
  const random = new Random(5);
  for (const [dim, inner] of [[8, 1], [8, 3], [5, 1], [5, 3]]) {
    const x = hostTensor("f16", [2, 40, 3, dim], () => random.normal());
    const tokens = own.use(gpu.tensor(x.data, x.shape)) as Tensor<"f32">;
    const shape = inner === 1 ? [2, 40] : [2, 40, 3];
    const keys = Float32Array.from({ length: 80 * inner }, () => random.next());
    const order = own.use(argSort(own.use(gpu.tensor(keys, shape)), { axis: 1 }));

    const moved = own.use(gatherTokens(tokens, order));
    const back = own.use(scatterTokens(moved, order, { length: 40 }));

    const indices = { data: await order.read(), shape };
    assertEquals(
      Float64Array.from(await moved.read()),
      reference.gatherTokens(x, indices).data,
    );
    assertEquals(Array.from(await back.read()), Array.from(x.data));
  }
});

test(
  "scatterTokens() leaves 0 where no index names, and the last where several do",
  async (gpu, own) => {
    const x = own.use(gpu.tensor(Float32Array.of(1, 2, 3, 4, 5), [1, 5, 1, 1]));
    const indices = own.use(gpu.tensor(Int32Array.of(2, 0, 2, -1, 9), [1, 5]));

    const out = own.use(scatterTokens(x, indices, { length: 4 }));

    assertEquals([...await out.read()], [2, 0, 3, 0]);
  },
);

test(
  "poolTokens(), attentionStatistics(), selectTopK() and attention() need no read between",
  async (gpu, own) => {
    const random = new Random(6);
    const [length, heads, block, chosen] = [500, 2, 64, 3];
    const host = [1, 2, 3].map(() =>
      hostTensor("f32", [2, length, heads, 64], () => random.normal())
    );
    const [q, k, v] = host.map(({ data, shape }) =>
      own.use(gpu.tensor(data, shape)) as Tensor<"f32">
    );
    const result = gpu.scope(() => {
      const [pooledQ, pooledK] = [q, k].map((x) => poolTokens(x, { block, kind: "mean" }));
      const { blockMax } = attentionStatistics(pooledQ, pooledK, {
        blockMax: { queryBlock: 1, keyBlock: 1 },
      });
      const { indices } = selectTopK(blockMax as Tensor, chosen);
      const blockMap = blockMapFromIndices(indices, {
        ...{ qLen: length, kvLen: length, batch: 2, heads, queryBlock: block, keyBlock: block },
      });
      return { out: attention(q, k, v, { blockMap }).out, indices };
    });
    own.use(result.out);
    own.use(result.indices);

    // the same with the oracles: scores of pooled tokens, then attention under a mask
    const [meanQ, meanK] = host.map((x) => reference.poolTokens(x, { block, kind: "mean" }));
    const { blockMax } = reference.attentionStatistics(meanQ, meanK, {
      blockMax: { queryBlock: 1, keyBlock: 1 },
    });
    const { indices } = reference.selectTopK(blockMax as reference.ReferenceTensor, chosen);
    assertEquals(await result.indices.read(), indices.data);
    const blocks = Math.ceil(length / block);
    const { out } = reference.attention(host[0], host[1], host[2], {
      mask: ({ b, h, i, j }) => {
        const row = (b * heads + h) * blocks + Math.floor(i / block);
        const seen = indices.data.subarray(row * chosen, (row + 1) * chosen);
        return seen.includes(Math.floor(j / block));
      },
    });
    assertClose("out", await result.out.read(), out.data, { ratio: 1e-5 });
  },
);

test("selectTopK() and argSort() bind in parts what one binding does not hold", async () => {
  using gpu = await requestGpu({ limits: { maxStorageBufferBindingSize: 2 ** 16 } });
  const random = new Random(7);
  const x = hostTensor("f16", [9, 3001], () => random.normal());
  const scores = gpu.tensor(x.data, x.shape);

  assertEquals(
    await selectTopK(scores, 2000).indices.read(),
    reference.selectTopK(x, 2000).indices.data,
  );
  assertEquals(await argSort(scores).read(), reference.argSort(x).data);
  const long = gpu.tensor(new Float32Array(20_000), [20_000]);
  assertEquals(
    assertThrows(() => selectTopK(long, 1), RangeError).message,
    "Cannot plan a selection as a row must fit one binding: it takes 80000 bytes, the device allows 65536",
  );
});

/** Tests that a call throws exactly this, and that nothing is allocated. */
function testRefusal(
  when: string,
  call: (zeros: (...shape: number[]) => Tensor<"f32">) => unknown,
  [kind, message]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `selection throws when ${when}`,
    ignore,
    fn() {
      const gpu = theGpu();
      gpu.scope(() => {
        const zeros = (...shape: number[]) =>
          gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
        const error = assertThrows(() => call(zeros), kind);
        assertEquals(error.message, message);
      });
      assertEquals(gpu.memory().tensors, 0);
    },
  });
}

const integers = (...data: number[]) => (shape: number[]) =>
  theGpu().tensor(Int32Array.from(data), shape);

testRefusal("scores are a number", (zeros) => selectTopK(zeros(), 1), [
  TypeError,
  "Cannot select the top k as scores must have an axis: scores is []",
]);
testRefusal("scores are integers", () => selectTopK(integers(1, 2)([2]), 1), [
  TypeError,
  "Cannot select the top k as scores must be f32 or f16: scores is i32",
]);
testRefusal("k is no integer", (zeros) => selectTopK(zeros(2, 3), 1.5), [
  RangeError,
  "Cannot select the top k as k must be an integer >= 0: k is 1.5",
]);
testRefusal("p is too large", (zeros) => selectTopP(zeros(2, 3), 1.5), [
  RangeError,
  "Cannot select the top p as p must be a number from 0 to 1: p is 1.5",
]);
testRefusal("max is negative", (zeros) => selectTopP(zeros(2, 3), 1, { max: -1 }), [
  RangeError,
  "Cannot select the top p as max must be an integer >= 0: max is -1",
]);
testRefusal("a threshold is NaN", (zeros) => selectThreshold(zeros(2, 3), NaN), [
  RangeError,
  "Cannot select by a threshold as t must be a number: t is NaN",
]);
testRefusal(
  "an option is unknown",
  (zeros) => selectThreshold(zeros(2, 3), 1, { k: 2 } as object),
  [
    TypeError,
    'Cannot select by a threshold as options must be known: "k" is not, the nearest is "max"',
  ],
);
testRefusal("an axis is not there", (zeros) => argSort(zeros(2, 3), { axis: 2 }), [
  RangeError,
  "Cannot sort as axis must be one of x: axis is 2, x is [2,3]",
]);
testRefusal(
  "indices have another batch",
  (zeros) => gatherTokens(zeros(1, 3, 2, 4), integers(0, 1)([2, 1])),
  [
    TypeError,
    "Cannot gather tokens as indices must be [B, M] or [B, M, H] with B = 1, H = 2: indices is [2,1]",
  ],
);
testRefusal(
  "a token has no index",
  (zeros) => scatterTokens(zeros(1, 3, 2, 4), integers(0, 1)([1, 2]), { length: 3 }),
  [
    TypeError,
    "Cannot scatter tokens as there must be an index for each token: x is [1,3,2,4], indices is [1,2]",
  ],
);
testRefusal(
  "a length is negative",
  (zeros) => scatterTokens(zeros(1, 1, 2, 4), integers(0)([1, 1]), { length: -3 }),
  [
    RangeError,
    "Cannot scatter tokens as length must be an integer >= 0: length is -3",
  ],
);

const LIMITS = planLimits({
  maxStorageBufferBindingSize: 2 ** 27,
  minStorageBufferOffsetAlignment: 256,
  maxLoopIterations: 65_535,
});

Deno.test("planSelect() chooses by the row alone, and throws where a row would loop too long", () => {
  const problem: SelectProblem = {
    ...{ elem: "f32", axes: [10], rows: 10, width: 4096, places: 64, least: 1, share: null },
  };

  assertEquals(planSelect(problem, LIMITS), {
    ...{ ranked: false, threads: 64, tile: 64, sorted: true, pairs: 64, rows: 8191 },
  });
  assertEquals(planSelect({ ...problem, width: 65_536, share: 0.5, places: 5000 }, LIMITS), {
    ...{ ranked: false, threads: 256, tile: 1024, sorted: false, pairs: 5000, rows: 511 },
  });
  const ranked = [[64, 64, null], [65, 64, null], [64, 65, null], [64, 64, 0.5]] as const;
  assertEquals(
    ranked.map(([width, places, share]) =>
      planSelect({ ...problem, width, places, share }, LIMITS).ranked
    ),
    [true, false, false, true],
  );
  assertEquals(
    assertThrows(() => planSelect({ ...problem, width: 2_000_000 }, LIMITS), RangeError).message,
    "Cannot plan a selection as a row must take at most 58981 iterations here: 2000000 elements and 64 places take 74409",
  );
});
