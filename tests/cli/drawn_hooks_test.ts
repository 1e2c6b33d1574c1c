import { assert, assertEquals } from "@std/assert";
import { drawnHooks } from "../../cli/drawn_hooks.ts";
import { hostGpu, tableOf } from "../../cli/host_gpu.ts";
import { madeHooks } from "../../cli/ready_made.ts";
import { requestGpu } from "../../gpu/request.ts";
import { compileBlockMap } from "../../ops/block_map/mod.ts";
import { attentionStatistics } from "../../ops/statistics/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const gpu = adapter === null ? null : await requestGpu();

const SIZES = { batch: 2, heads: 2, qLen: 9, kvLen: 11 };

/** The value of a function at every place, batch entry by batch entry, head by head. */
function everywhere<T>(value: (at: { b: number; h: number; i: number; j: number }) => T): T[] {
  const { batch, heads, qLen, kvLen } = SIZES;
  return Array.from({ length: batch * heads * qLen * kvLen }, (_, at) => {
    const [i, h] = [Math.floor(at / kvLen) % qLen, Math.floor(at / kvLen / qLen) % heads];
    return value({ b: Math.floor(at / kvLen / qLen / heads), h, i, j: at % kvLen });
  });
}

const DOCUMENTS = [0, 0, 0, 1, 1, 5, 5, 5, 0];

/** Every ready-made mask, with numbers and with tables. */
const MASKS: readonly Readonly<Record<string, readonly unknown[]>>[] = [
  { causal: [] },
  { causal: [{ offset: 2 }] },
  { slidingWindow: [2, 1] },
  { slidingWindow: [2, 1, { offset: -1 }] },
  { prefixLm: [3] },
  { prefixLm: [[2, 5], { offset: 1 }] },
  { documentMask: [DOCUMENTS] },
  { documentMask: [[DOCUMENTS, DOCUMENTS.toReversed()], [0, 1, 5, 0, 1, 5, 0, 1, 5, 0, 1]] },
  { headWindow: [[1, 4]] },
  { headWindow: [[[1, 4], [0, 2]], { offset: 2 }] },
  { sinkWindow: [{ sinks: 2, window: 3 }] },
  { dilatedWindow: [{ left: 2, right: 1, dilation: 2 }] },
  { dilatedWindow: [{ left: 3, dilation: [1, 3] }] },
  { stridedHeads: [{ strides: [2, 3] }] },
  { stridedHeads: [{ strides: [2, 3], offsets: [1, 2], window: 1 }], prefixLm: [2] },
  {
    verticalSlash: [
      [[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
      [
        [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
      ],
    ],
  },
  { everyNthBlock: [{ block: 2, n: 3, window: 1 }] },
];

for (const written of MASKS) {
  Deno.test({
    name: `drawnHooks() masks as the device does under ${JSON.stringify(written).slice(0, 60)}`,
    ignore,
    async fn() {
      const { mask } = drawnHooks({ mask: written });
      const blocks = { ...SIZES, queryBlock: 1, keyBlock: 1 };
      using map = compileBlockMap(gpu!, madeHooks(gpu!, "mask", written), blocks);
      const expected = await map.matrix();

      assertEquals(everywhere((at) => 2 * Number(mask!(at))), [...expected]);
      assert(expected.includes(0) && expected.includes(2));
    },
  });
}

/** Every ready-made score, with numbers and with tables. */
const SCORES: readonly Readonly<Record<string, readonly unknown[]>>[] = [
  { alibi: [{ heads: 2 }] },
  { alibi: [[0.5, 0.25], { distance: "past", offset: 2 }] },
  { relativeBias: [[[0.5, 1, -1, 2, 0.25], [3, 1, 2, 0.5, -2]]] },
  { relativeBias: [[[0.5, 1, -1]], { offset: 1 }], temperature: [0.5] },
  { alibi: [{ heads: 2 }], softcap: [0.5], temperature: [[2, 0.25]] },
];

for (const written of SCORES) {
  Deno.test({
    name: `drawnHooks() scores as the device does under ${JSON.stringify(written)}`,
    ignore,
    async fn() {
      const { score } = drawnHooks({ score: written });
      const { batch, heads, qLen, kvLen } = SIZES;
      const found = gpu!.scope(() => {
        const [q, k] = [qLen, kvLen].map((length) =>
          gpu!.tensor(new Float32Array(batch * length * heads), [batch, length, heads, 1])
        );
        const blockMax = { queryBlock: 1, keyBlock: 1 };
        const hooks = { score: madeHooks(gpu!, "score", written) };
        return attentionStatistics(q, k, { ...hooks, blockMax }).blockMax!;
      });

      const expected = everywhere((at) => score!(0, at));
      assertClose("scores", await found.read(), expected, { ratio: 1e-6 });
      assert(new Set(expected).size > 2);
    },
  });
}

Deno.test("drawnHooks() takes numbers as inputs, rounded to f32", () => {
  const { mask, titles } = drawnHooks({ mask: { code: "f32(j) < n * 10", inputs: { n: 0.3 } } });

  // 0.3 is more in f32
  assertEquals([3, 4].map((j) => mask!({ b: 0, h: 0, i: 0, j })), [true, false]);
  assertEquals(titles, ["mask f32(j) < n * 10"]);
});

Deno.test("hostGpu() holds tensors of every type, and of odd lengths", () => {
  const gpu = hostGpu();
  for (
    const data of [
      Float32Array.of(0.5, -1, 2),
      Float16Array.of(0.5, -1, 2),
      Int32Array.of(-3, 4, 5),
      Uint32Array.of(7, 8, 2 ** 32 - 1),
    ]
  ) {
    const view = new (data.constructor as Float32ArrayConstructor)([9, ...data]).subarray(1);

    assertEquals(tableOf(gpu.tensor(view, [3, 1])), { data, shape: [3, 1] });
  }
});
