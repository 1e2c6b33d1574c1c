import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { type Gpu, hashTokens, requestGpu, type Tensor } from "../../mod.ts";
import { hashProblem, planHash } from "../../ops/hash/problem.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

const KINDS = ["hyperplane", "crossPolytope"] as const;

for (const kind of KINDS) {
  for (const dtype of ["f32", "f16"] as const) {
    Deno.test({
      name: `hashTokens() agrees with its oracle by ${kind} in ${dtype}`,
      ignore,
      async fn() {
        const gpu = theGpu();
        const random = new Random(4);
        const cases = [[100, 1, 1, 1], [70, 31, 2, 1], [9, 5, 1, 3], [0, 3, 2, 3]];
        for (const [length, count, planeBatch, planeHeads] of cases) {
          const one = () => random.integer(-2, 2); // products are exact, and often 0 or equal
          const x = hostTensor(dtype, [2, length, 3, 6], one);
          const planes = hostTensor("f32", [planeBatch, count, planeHeads, 6], one);
          const tensors = [x, planes].map(({ data, shape }) => gpu.tensor(data, shape));

          const codes = hashTokens(tensors[0], tensors[1], { kind });

          const expected = reference.hashTokens(x, planes, { kind });
          assertEquals(await codes.read(), expected.data);
          assertEquals(codes.shape, expected.shape);
          for (const tensor of [...tensors, codes]) tensor.dispose();
        }
        assertEquals(gpu.memory().tensors, 0);
      },
    });
  }
}

Deno.test({
  name: "hashTokens() hashes batch entries in parts what one binding does not hold",
  ignore,
  async fn() {
    const limits = { maxStorageBufferBindingSize: 4096 };
    using gpu = await requestGpu({ limits });
    const random = new Random(5);
    const x = hostTensor("f32", [5, 30, 1, 4], () => random.integer(-3, 3));
    const planes = hostTensor("f32", [1, 10, 1, 4], () => random.integer(-3, 3));
    const tensors = [x, planes].map(({ data, shape }) => gpu.tensor(data, shape));
    assert(planHash(hashProblem(tensors[0], tensors[1], {}).problem, gpu.limits) < 5);

    const codes = hashTokens(tensors[0], tensors[1]);

    assertEquals(await codes.read(), reference.hashTokens(x, planes).data);
  },
});

Deno.test({
  name: "hashTokens() throws before it computes",
  ignore,
  fn() {
    const gpu = theGpu();
    const zeros = (...shape: number[]): Tensor =>
      gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
    const refusals: readonly (readonly [() => unknown, string])[] = [
      [() => hashTokens(zeros(2, 3, 4), zeros(1)), "x must have 4 axes [B, T, H, D]: x is [2,3,4]"],
      [
        () => hashTokens(zeros(2, 3, 1, 4), zeros(1, 5, 4)),
        "planes must have 4 axes [B|1, R, H|1, D]: planes is [1,5,4]",
      ],
      [
        () => hashTokens(zeros(1, 3, 1, 4), zeros(1, 0, 1, 4)),
        "there must be a plane: planes is [1,0,1,4]",
      ],
      [
        () => hashTokens(zeros(1, 3, 1, 4), zeros(1, 32, 1, 4)),
        "a code must have at most 31 signs: planes is [1,32,1,4]",
      ],
      [
        () => hashTokens(zeros(1, 3, 1, 4), zeros(1, 2, 1, 4), { kind: "gray" as "hyperplane" }),
        "kind must be one of hyperplane, crossPolytope: kind is gray",
      ],
    ];
    gpu.scope(() => {
      for (const [call, rule] of refusals) {
        assertEquals(assertThrows(call, Error).message, `Cannot hash tokens as ${rule}`);
      }
    });
    assertEquals(gpu.memory().tensors, 0);
  },
});
