import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  type PoolKind,
  type PoolOptions,
  poolTokens,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { planPool } from "../../ops/pool/plan.ts";
import type { PoolProblem } from "../../ops/pool/problem.ts";
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

const KINDS: readonly PoolKind[] = ["mean", "max", "min", "first", "last", "attention"];

for (const kind of KINDS) {
  for (const dtype of ["f32", "f16"] as const) {
    Deno.test({
      name: `poolTokens() agrees with its oracle for ${kind} in ${dtype}`,
      ignore,
      async fn() {
        const gpu = theGpu();
        const random = new Random(5);
        for (const [length, dim, block] of [[130, 8, 16], [1, 5, 4], [200, 6, 64], [0, 4, 3]]) {
          const x = hostTensor(dtype, [2, length, 3, dim], () => random.normal());
          const logit = () => random.next() < 0.3 ? -Infinity : 100 * random.normal();
          const weights = hostTensor(dtype, [2, length, 3], logit);
          const attended = kind === "attention";
          const given = attended ? { weights: gpu.tensor(weights.data, weights.shape) } : {};
          const tokens = gpu.tensor(x.data, x.shape) as Tensor<"f32">;

          const out = poolTokens(tokens, { block, kind, ...given });

          const expected = reference.poolTokens(x, {
            ...{ block, kind, ...(attended && { weights }) },
          });
          assertEquals(out.shape, expected.shape);
          assertEquals(out.dtype, dtype);
          const ratio = dtype === "f32" ? 1e-6 : 1e-3;
          assertClose("out", await out.read(), expected.data, { ratio });
          for (const tensor of [tokens, out, ...Object.values(given)]) tensor.dispose();
        }
        assertEquals(gpu.memory().tensors, 0);
      },
    });
  }
}

Deno.test({
  name: "poolTokens() pools a sequence to the same bits wherever it is packed",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(6);
    const data = Float32Array.from({ length: 300 * 10 }, () => random.normal());
    const bounds = [0, 0, 3, 150, 150, 300];
    const x = gpu.tensor(data, [1, 300, 2, 5]);
    const cuSeqlens = gpu.tensor(Int32Array.from(bounds), [6]);

    const packed = poolTokens(x, { block: 70, kind: "mean", cuSeqlens });
    const alone = gpu.tensor(data.slice(3 * 10, 150 * 10), [1, 147, 2, 5]);
    const own = poolTokens(alone, { block: 70, kind: "mean" });

    assertEquals(packed.shape, [1, 1 + 3 + 3, 2, 5]);
    assertEquals((await packed.read()).slice(10, 40), await own.read());
    for (const tensor of [x, cuSeqlens, packed, alone, own]) tensor.dispose();
  },
});

Deno.test({
  name: "poolTokens() leaves out what a logit of -Infinity hides, and keeps infinities",
  ignore,
  async fn() {
    const gpu = theGpu();
    const x = gpu.tensor(Float16Array.of(NaN, 3, 1, 2, -Infinity, 7), [1, 6, 1, 1]);
    const weights = gpu.tensor(
      Float32Array.of(-Infinity, 1, -Infinity, -Infinity, 0, 0),
      [1, 6, 1],
    );

    const out = poolTokens(x, { block: 2, kind: "attention", weights });
    const min = poolTokens(x, { block: 6, kind: "last" });

    assertEquals([...await out.read()], [3, 0, -Infinity]);
    assertEquals([...await min.read()], [7]);
    for (const tensor of [x, weights, out, min]) tensor.dispose();
  },
});

Deno.test({
  name: "poolTokens() binds in parts what one binding does not hold",
  ignore,
  async fn() {
    using gpu = await requestGpu({ limits: { maxStorageBufferBindingSize: 2 ** 16 } });
    const random = new Random(7);
    const x = hostTensor("f32", [3, 1000, 2, 20], () => random.normal());

    const out = poolTokens(gpu.tensor(x.data, x.shape) as Tensor<"f32">, {
      ...{ block: 64, kind: "mean" },
    });

    const expected = reference.poolTokens(x, { block: 64, kind: "mean" });
    assertClose("out", await out.read(), expected.data, { ratio: 1e-6 });
  },
});

const LIMITS = planLimits({ maxLoopIterations: 1000 });

Deno.test("planPool() shares long blocks, and throws where a loop would be too long", () => {
  const problem: PoolProblem = {
    ...{ batch: 1, heads: 2, dim: 64, kind: "mean", block: 16, elem: "f32", weightElem: null },
    blocks: [{ first: 0, end: 16, state: 0 }],
  };
  const long = { ...problem, block: 8000, blocks: [{ first: 0, end: 8000, state: 0 }] };

  assertEquals(planPool(problem, LIMITS), { slices: 1, groups: [[0, 1]] });
  assertEquals(planPool({ ...problem, block: 64 }, LIMITS).slices, 8);
  assertEquals(
    assertThrows(() => planPool(long, LIMITS), RangeError).message,
    "Cannot plan pooling as a block must have at most 7200 tokens here: it has 8000",
  );
});

Deno.test({
  name: "poolTokens() takes more blocks than a function has arguments",
  ignore,
  async fn() {
    const gpu = theGpu();
    const data = Float32Array.from({ length: 200_000 }, (_, n) => n);
    const x = gpu.tensor(data, [1, data.length, 1, 1]);
    const out = poolTokens(x, { block: 1, kind: "first" });
    assertEquals((await out.read())[199_999], 199_999);
    x.dispose();
    out.dispose();
  },
});

/** Tests that a call throws exactly this, and that nothing is allocated. */
function testRefusal(
  when: string,
  make: (zeros: (...shape: number[]) => Tensor<"f32">) => [Tensor<"f32">, object],
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `poolTokens() throws when ${when}`,
    ignore,
    fn() {
      const gpu = theGpu();
      gpu.scope(() => {
        const zeros = (...shape: number[]) =>
          gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
        const [x, options] = make(zeros);
        const before = gpu.memory();
        const error = assertThrows(() => poolTokens(x, options as PoolOptions), kind);
        assertEquals(error.message, `Cannot pool tokens as ${rule}`);
        assertEquals(gpu.memory(), before);
      });
    },
  });
}

testRefusal("x has three axes", (zeros) => [zeros(2, 3, 4), { block: 2, kind: "mean" }], [
  TypeError,
  "x must have 4 axes [B, T, H, D]: x is [2,3,4]",
]);
testRefusal("a block is empty", (zeros) => [zeros(1, 2, 3, 4), { block: 0, kind: "mean" }], [
  RangeError,
  "block must be an integer >= 1: block is 0",
]);
testRefusal("a kind is unknown", (zeros) => [zeros(1, 2, 3, 4), { block: 2, kind: "sum" }], [
  RangeError,
  "kind must be one of mean, max, min, first, last, attention: kind is sum",
]);
testRefusal(
  "weights are missing",
  (zeros) => [zeros(1, 2, 3, 4), { block: 2, kind: "attention" }],
  [
    TypeError,
    'weights belong to the kind "attention": kind is "attention", weights is undefined',
  ],
);
testRefusal("weights have another shape", (zeros) => [
  zeros(1, 2, 3, 4),
  { block: 2, kind: "attention", weights: zeros(1, 2, 4) },
], [TypeError, "weights must be [1,2,3]: weights is [1,2,4]"]);
testRefusal("weights are not needed", (zeros) => [
  zeros(1, 2, 3, 4),
  { block: 2, kind: "max", weights: zeros(1, 2, 3) },
], [TypeError, 'weights belong to the kind "attention": kind is "max", weights is given']);
testRefusal("cuSeqlens comes with a batch", (zeros) => [
  zeros(2, 2, 3, 4),
  { block: 2, kind: "max", cuSeqlens: theGpu().tensor(Int32Array.of(0, 4), [2]) },
], [TypeError, "cuSeqlens needs a batch of 1: current batch is 2"]);
testRefusal("an option is unknown", (zeros) => [zeros(1, 2, 3, 4), { blocks: 2, kind: "max" }], [
  TypeError,
  'options must be known: "blocks" is not, the nearest is "block"',
]);
