import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { linearAttentionFull, requestGpu, type Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu();

/** The device of these tests. */
function gpu() {
  assert(shared !== null);
  return shared;
}

/** A tensor of these values, repeated, or of zeros. */
function tensor(
  shape: number[],
  values: readonly number[] = [0],
  dtype: "f32" | "f16" = "f32",
): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = new { f32: Float32Array, f16: Float16Array }[dtype](size);
  for (let i = 0; i < size; i++) data[i] = values[i % values.length];
  return gpu().tensor(data, shape) as Tensor<"f32">;
}

type Options = Parameters<typeof linearAttentionFull>[3];

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  make: () => { q?: Tensor<"f32">; k?: Tensor<"f32">; v?: Tensor<"f32">; options?: unknown },
  kind: typeof TypeError | typeof RangeError,
  rule: string,
): void {
  Deno.test({
    name: `linearAttentionFull() throws when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const given = {
          q: tensor([2, 3, 4, 8]),
          k: tensor([2, 6, 2, 8]),
          v: tensor([2, 6, 4, 12]),
          options: {},
          ...make(),
        };
        const before = gpu().memory();
        const error = assertThrows(
          () => linearAttentionFull(given.q, given.k, given.v, given.options as Options),
          kind,
        );

        assertEquals(error.message, `Cannot compute full linear attention as ${rule}`);
        assertEquals(gpu().memory(), before);
      });
    },
  });
}

testRefusal(
  "an option is misspelt",
  () => ({ options: { featuremap: "relu" } }),
  TypeError,
  'options must be known: "featuremap" is not, the nearest is "featureMap"',
);
testRefusal(
  "a feature map is unknown",
  () => ({ options: { featureMap: "cos" } }),
  RangeError,
  "featureMap must be one of identity, elu1, relu, exp, taylor2, hedgehog: featureMap is cos",
);
testRefusal(
  "there are too many features",
  () => ({
    q: tensor([2, 3, 4, 22]),
    k: tensor([2, 6, 2, 22]),
    options: { featureMap: "taylor2" },
  }),
  RangeError,
  "the number of features of q and k must be 1 to 256: current number of features of q and k is 276",
);
testRefusal(
  "keys and values differ in number",
  () => ({ v: tensor([2, 5, 4, 12]) }),
  TypeError,
  "k and v must share a length: current values are k=6, v=5",
);
testRefusal(
  "batches differ",
  () => ({ q: tensor([1, 3, 4, 8]) }),
  TypeError,
  "q and k and v must share a batch: current values are q=1, k=2, v=2",
);
testRefusal(
  "weights are normalized and centred",
  () => ({ options: { normalize: true, subtractMean: true } }),
  TypeError,
  "normalize and subtractMean exclude each other: both are true",
);
testRefusal(
  "a flag is no flag",
  () => ({ options: { subtractMean: 1 } }),
  TypeError,
  "subtractMean must be true or false: subtractMean is 1",
);
testRefusal(
  "eps is negative",
  () => ({ options: { eps: -1 } }),
  RangeError,
  "eps must be a finite f32 >= 0: eps is -1",
);
testRefusal(
  "token weights are of state heads",
  () => ({ options: { tokenWeights: tensor([2, 6, 4]) } }),
  TypeError,
  "tokenWeights must be [2,6,2]: tokenWeights is [2,6,4]",
);

Deno.test({
  name: "linearAttentionFull() gives 0 where there is no key",
  ignore,
  async fn() {
    for (const options of [{ featureMap: "elu1", eps: 0 }, { subtractMean: true }] as const) {
      const [q, kv] = [tensor([1, 2, 1, 4], [1]), tensor([1, 0, 1, 4])];
      const { out } = linearAttentionFull(q, kv, kv, options);

      assertEquals([...await out.read()], Array(8).fill(0));
      [q, kv, out].forEach((x) => x.dispose());
    }
  },
});

Deno.test({
  name: "linearAttentionFull() centres weights around 1 / S",
  ignore,
  async fn() {
    // scores of 1 and 3 have a mean of 2: weights (1 - 2 + 1) / 2 and (3 - 2 + 1) / 2
    const [q, k, v] = [[1], [1, 3], [4, 8]].map((x) => tensor([1, x.length, 1, 1], x));
    const { out } = linearAttentionFull(q, k, v, { subtractMean: true });

    assertAlmostEquals((await out.read())[0], 8, 1e-5);
    [q, k, v, out].forEach((x) => x.dispose());
  },
});

Deno.test({
  name: "linearAttentionFull() sees every key from every query, whatever their order",
  ignore,
  async fn() {
    const sizes = [1, 300, 2, 8];
    const values = Array.from({ length: 300 * 16 }, (_, i) => Math.sin(i));
    const rows = Array.from({ length: 300 }, (_, t) => values.slice(16 * t, 16 * t + 16));
    const [q, k, v] = [0, 1, 2].map(() => tensor(sizes, values));
    const turned = tensor(sizes, rows.toReversed().flat());
    const one = linearAttentionFull(q, k, v, { featureMap: "elu1" }).out;
    const other = linearAttentionFull(q, turned, turned, { featureMap: "elu1" }).out;
    const [x, y] = [await one.read(), await other.read()];

    x.forEach((value, i) => assertAlmostEquals(value, y[i], 1e-5));
    [q, k, v, turned, one, other].forEach((tensor) => tensor.dispose());
  },
});

Deno.test({
  name: "linearAttentionFull() leaves nothing behind but its output",
  ignore,
  async fn() {
    const [q, k, v] = [3, 6, 6].map((length) => tensor([1, length, 2, 8], [1, 2]));
    const weights = tensor([1, 6, 2], [0.5]);
    const call = () => linearAttentionFull(q, k, v, { tokenWeights: weights, subtractMean: true });
    call().out.dispose();
    await gpu().submit();
    const before = gpu().memory();
    const { out } = call();
    await out.read();
    out.dispose();

    assertEquals(gpu().memory().tensors, before.tensors);
    assertEquals(gpu().memory().bytes, before.bytes);
    [q, k, v, weights].forEach((tensor) => tensor.dispose());
  },
});
