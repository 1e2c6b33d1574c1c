import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { assignCentroids, type Gpu, requestGpu, type Tensor } from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

for (const metric of ["dot", "l2"] as const) {
  for (const dtype of ["f32", "f16"] as const) {
    Deno.test({
      name: `assignCentroids() agrees with its oracle by ${metric} in ${dtype}`,
      ignore,
      async fn() {
        const gpu = theGpu();
        const random = new Random(8);
        const cases = [[100, 7, 100], [100, 7, 15], [70, 40, 2], [9, 5, 1], [0, 3, 2]];
        for (const [length, count, capacity] of cases) {
          const one = () => random.integer(-3, 3); // scores are exact, and often equal
          const x = hostTensor(dtype, [2, length, 2, 6], one);
          const centroids = hostTensor("f32", [2, count, 1, 6], one);
          const tensors = [x, centroids].map(({ data, shape }) => gpu.tensor(data, shape));

          const { cluster, counts } = assignCentroids(tensors[0], tensors[1], { metric, capacity });

          const expected = reference.assignCentroids(x, centroids, { metric, capacity });
          assertEquals(await cluster.read(), expected.cluster.data);
          assertEquals(cluster.shape, expected.cluster.shape);
          assertEquals(await counts.read(), expected.counts.data);
          assertEquals(counts.shape, expected.counts.shape);
          for (const tensor of [...tensors, cluster, counts]) tensor.dispose();
        }
        assertEquals(gpu.memory().tensors, 0);
      },
    });
  }
}

Deno.test({
  name: "assignCentroids() fills every centroid where there is just room",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(9);
    const x = hostTensor("f32", [1, 256, 2, 16], () => random.normal());
    const centroids = hostTensor("f32", [1, 8, 2, 16], () => random.normal());
    const tensors = [x, centroids].map(({ data, shape }) => gpu.tensor(data, shape));

    const { cluster, counts } = assignCentroids(tensors[0], tensors[1], { capacity: 32 });

    assertEquals([...await counts.read()], Array(16).fill(32));
    assertEquals(
      await cluster.read(),
      reference.assignCentroids(x, centroids, { capacity: 32 }).cluster.data,
    );
    for (const tensor of [...tensors, cluster, counts]) tensor.dispose();
  },
});

Deno.test({
  name: "assignCentroids() throws before it computes",
  ignore,
  fn() {
    const gpu = theGpu();
    const zeros = (...shape: number[]): Tensor =>
      gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
    const refusals: readonly (readonly [() => unknown, string])[] = [
      [
        () => assignCentroids(zeros(2, 3, 4), zeros(1)),
        "x must have 4 axes [B, T, H, D]: x is [2,3,4]",
      ],
      [
        () => assignCentroids(zeros(2, 3, 2, 4), zeros(3, 5, 1, 4)),
        "centroids must be [2,5,2,4] or [2,5,1,4] or [1,5,2,4] or [1,5,1,4]: centroids is [3,5,1,4]",
      ],
      [
        () => assignCentroids(zeros(1, 3, 1, 4), zeros(1, 0, 1, 4)),
        "there must be a centroid: centroids is [1,0,1,4]",
      ],
      [
        () => assignCentroids(zeros(1, 3, 1, 4), zeros(1, 2, 1, 4), { capacity: 0 }),
        "capacity must be an integer >= 1: capacity is 0",
      ],
      [
        () => assignCentroids(zeros(1, 3, 1, 4), zeros(1, 2, 1, 4), { metric: "cosine" as "dot" }),
        "metric must be one of dot, l2: metric is cosine",
      ],
    ];
    gpu.scope(() => {
      for (const [call, rule] of refusals) {
        assertEquals(assertThrows(call, Error).message, `Cannot assign centroids as ${rule}`);
      }
    });
    assertEquals(gpu.memory().tensors, 0);
  },
});
