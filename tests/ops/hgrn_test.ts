import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { hgrn, hgrnStep, requestGpu, type Tensor } from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function gpu() {
  assert(shared !== null);
  return shared;
}

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return gpu().tensor(new data(size), shape) as Tensor<"f32">;
}

/** Numbers of one channel. */
function channel(...data: number[]): Tensor<"f32"> {
  return gpu().tensor(Float32Array.from(data), [1, data.length, 1]);
}

type Arguments = Record<"state" | "x" | "g", Tensor<"f32">>;

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  name: string,
  make: () => Partial<Record<keyof Arguments | "options", unknown>>,
  rule: string,
): void {
  Deno.test({
    name,
    ignore,
    fn() {
      gpu().scope(() => {
        const accepted = { state: zeros([2, 3]), x: zeros([2, 1, 3]), g: zeros([2, 1, 3]) };
        const { options, ...others } = make();
        const { state, x, g } = { ...accepted, ...others } as Arguments;
        const before = gpu().memory();
        const call = name.startsWith("hgrnStep")
          ? () => hgrnStep(state, x, g)
          : () => hgrn(x, g, options as Parameters<typeof hgrn>[2]);

        const error = assertThrows(call, TypeError);

        assertEquals(error.message, `Cannot compute HGRN as ${rule}`);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

testRefusal(
  "hgrn() throws when an argument is no tensor",
  () => ({ g: 3 }),
  [
    "g must be a Tensor: g is 3",
  ].join(),
);
testRefusal(
  "hgrn() throws when x has no time",
  () => ({ x: zeros([6]) }),
  "x must have the axes [B, T, ...] with at least one channel: x is [6]",
);
testRefusal(
  "hgrn() throws when x and g differ in shape",
  () => ({ g: zeros([2, 1, 1]) }),
  "g must be [2,1,3]: g is [2,1,1]",
);
testRefusal(
  "hgrn() throws when g holds integers",
  () => ({ g: zeros([2, 1, 3], "i32") }),
  "g must be f32 or f16: g is i32",
);
testRefusal(
  "hgrn() throws when x holds integers",
  () => ({ x: zeros([2, 1, 3], "i32") }),
  "x must be f32 or f16: x is i32",
);
testRefusal(
  "hgrn() throws when an option is unknown",
  () => ({ options: { state: zeros([2, 3]) } }),
  'options must be known: "state" is not, the nearest is "mode"',
);
testRefusal(
  "hgrn() throws when the state has another shape",
  () => ({ options: { initialState: zeros([1, 3]) } }),
  "initialState must be [2,3]: initialState is [1,3]",
);
testRefusal(
  "hgrnStep() throws when there is no state",
  () => ({ state: undefined }),
  "state must be a Tensor: state is undefined",
);
testRefusal(
  "hgrnStep() throws when the state has another shape",
  () => ({ state: zeros([2, 4]) }),
  "state must be [2,3]: state is [2,4]",
);
testRefusal(
  "hgrnStep() throws when the state is f16",
  () => ({ state: zeros([2, 3], "f16") }),
  "state must be f32: state is f16",
);
testRefusal(
  "hgrnStep() throws when x and g differ in shape",
  () => ({ g: zeros([2, 3]) }),
  "g must be [2,1,3]: g is [2,3]",
);

Deno.test({
  name: "hgrn() forgets all behind a gate of -Infinity, and of -88",
  ignore,
  async fn() {
    const [x, g] = [channel(3e38, 1, 3e38, 2, 4), channel(0, -Infinity, 0, -88, 0)];

    for (const mode of ["loop", "chunk"] as const) {
      using out = hgrn(x, g, { mode }).out;
      assertEquals([...await out.read()], [Math.fround(3e38), 1, Math.fround(3e38), 2, 6]);
    }

    for (const tensor of [x, g]) tensor.dispose();
    assertEquals(gpu().memory().tensors, 0);
  },
});

Deno.test({
  name: "hgrn() keeps every bit behind gates of 0",
  ignore,
  async fn() {
    const [x, g] = [channel(0.1, ...Array(999).fill(0)), channel(...Array(1000).fill(0))];

    using out = hgrn(x, g).out;

    assertEquals((await out.read())[999], Math.fround(0.1));
    for (const tensor of [x, g]) tensor.dispose();
  },
});

Deno.test({
  name: "hgrn() stays near float64 where constant gates keep a thousand tokens",
  ignore,
  async fn() {
    const random = new Random(7);
    const shape = [1, 20_000, 4];
    const x = hostTensor("f32", shape, () => random.normal());
    const g = hostTensor("f32", shape, () => -1e-3);
    const tensors = [x, g].map(({ data }) => gpu().tensor(data, shape)) as Tensor<"f32">[];

    using out = hgrn(tensors[0], tensors[1]).out;

    assertClose("out", await out.read(), reference.hgrn(x, g).out.data, { ratio: 3e-5 });
    for (const tensor of tensors) tensor.dispose();
  },
});

for (const dtype of ["f32", "f16"] as const) {
  for (const width of [8, 5]) {
    Deno.test({
      name: `hgrnStep() goes on in place from a final state, ${dtype} with ${width} channels`,
      ignore,
      async fn() {
        const random = new Random(5);
        const [first, shape] = [[2, 20, width], [2, 22, width]];
        const x = hostTensor(dtype, shape, () => random.normal());
        const g = hostTensor(dtype, shape, () => -random.next());
        const tokens = ({ data }: typeof x, from: number, end: number): Tensor<"f32"> => {
          const parts = [0, 1].flatMap((b) => [
            ...data.subarray((22 * b + from) * width, (22 * b + end) * width),
          ]);
          const chosen = dtype === "f32" ? Float32Array.from(parts) : Float16Array.from(parts);
          return gpu().tensor(chosen, [2, end - from, width]) as Tensor<"f32">;
        };
        const { out, finalState } = reference.hgrn(x, g, { finalState: true });
        const inputs = [[0, 20], [20, 21], [21, 22]].map(([from, end]) =>
          [x, g].map((tensor) => tokens(tensor, from, end))
        );

        const before = hgrn(inputs[0][0], inputs[0][1], { finalState: true });
        const state = before.finalState;
        assert(state !== undefined);
        const steps = inputs.slice(1).map(([x, g]) => hgrnStep(state, x, g));

        assertEquals([...before.out.shape, ...steps[0].shape], [...first, 2, 1, width]);
        const ratio = dtype === "f32" ? 1e-6 : 1e-3;
        for (const [i, step] of steps.entries()) {
          const expected = [0, 1].flatMap((b) => [
            ...out.data.subarray((22 * b + 20 + i) * width, (22 * b + 21 + i) * width),
          ]);
          assertClose(`out of step ${i}`, await step.read(), expected, { ratio });
        }
        assertClose("state", await state.read(), finalState?.data ?? [], { ratio: 1e-6 });
        for (const tensor of [...inputs.flat(), ...steps, before.out, state]) tensor.dispose();
        assertEquals(gpu().memory().tensors, 0);
      },
    });
  }
}
