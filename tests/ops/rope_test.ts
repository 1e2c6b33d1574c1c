import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { type Gpu, requestGpu, rope, type RopeOptions, type Tensor } from "../../mod.ts";
import { rope as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** A typed array and its shape. */
interface Given {
  data: Float32Array | Float16Array | Int32Array;
  shape: readonly number[];
}

type Options = Omit<RopeOptions, "positions" | "frequencies">;

/** A problem; two batch entries of 50 tokens with 3 heads of 16 channels in f32 by default. */
interface Case {
  shape?: readonly number[];
  dtype?: "f32" | "f16";
  options?: Options;
  positions?: Given;
  frequencies?: Given;
}

const random = new Random(8);
const volume = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

function inputOf({ shape = [2, 50, 3, 16], dtype = "f32" }: Case): Given {
  return hostTensor(dtype, shape, () => random.normal());
}

/** Uploads, computes, reads and frees. */
async function compute(
  { options, positions, frequencies }: Case,
  x: Given,
  gpu = theGpu(),
): Promise<Float32Array | Float16Array> {
  const upload = ({ data, shape }: Given) => gpu.tensor(data, shape) as Tensor<"f32">;
  const out = gpu.scope(() =>
    rope(upload(x), {
      ...options,
      ...(positions && { positions: upload(positions) }),
      ...(frequencies && { frequencies: upload(frequencies) }),
    })
  );
  const data = await out.read();
  assertEquals(out.shape, x.shape);
  out.dispose();
  assertEquals(gpu.memory().tensors, 0);
  return data;
}

function expectedOf({ options, positions, frequencies }: Case, x: Given): Float64Array {
  const given = { ...(positions && { positions }), ...(frequencies && { frequencies }) };
  return reference(x, { ...options, ...given }).data;
}

/** Tests that a case agrees with float64. */
function testCase(name: string, c: Case): void {
  Deno.test({
    name: `rope() matches the reference for ${name}`,
    ignore,
    async fn() {
      const x = inputOf(c);

      const out = await compute(c, x);

      const ratio = c.dtype === "f16" ? 5e-4 : 2e-7;
      assertClose("out", out, expectedOf(c, x), { ratio });
    },
  });
}

const whole = (...shape: number[]): Given => ({
  data: Int32Array.from({ length: volume(shape) }, () => 1e6 * (random.next() - 0.5)),
  shape,
});
const real = (...shape: number[]): Given => ({
  data: Float32Array.from({ length: volume(shape) }, () => 1e4 * (random.next() - 0.5)),
  shape,
});
const GRID = [2, 6, 8, 3, 16];
const BOX = [1, 3, 4, 5, 2, 24];

testCase("halves", {});
testCase("neighbours", { options: { interleaved: true } });
testCase("f16", { dtype: "f16" });
testCase("f16 in neighbours", { dtype: "f16", options: { interleaved: true } });
testCase("halves that no vector holds", { shape: [1, 40, 9, 6] });
testCase("f16 of ragged channels", { shape: [1, 40, 3, 7], dtype: "f16", options: { dims: 4 } });
testCase("ragged neighbours", { shape: [1, 40, 9, 5], options: { dims: 4, interleaved: true } });
testCase("two channels", { shape: [2, 9, 1, 2] });
testCase("some of the channels", { options: { dims: 8 } });
testCase("some of the channels, ragged", { options: { dims: 10, base: 500 } });
testCase("some of the neighbours", { options: { dims: 10, interleaved: true } });
testCase("more heads than an invocation has", { shape: [1, 7, 19, 8] });
testCase("an offset", { options: { offset: 123_456 } });
testCase("a negative offset and scaling", { options: { offset: -30_000, scaling: 8 } });
testCase("whole positions", { positions: whole(50) });
testCase("whole positions of each batch entry", {
  positions: whole(2, 50),
  options: { offset: 3 },
});
testCase("real positions", { positions: real(50), options: { interleaved: true } });
testCase("real positions of each batch entry", { positions: real(2, 50), options: { offset: -7 } });
testCase("two token axes", { shape: GRID });
testCase("two token axes in neighbours", {
  ...{ shape: GRID, options: { interleaved: true, offset: [7, -9] } },
});
testCase("two token axes as one", { shape: GRID, options: { axes: "1d" } });
testCase("three token axes", { shape: BOX });
testCase("sections", { shape: BOX, options: { sections: [8, 0, 16] } });
testCase("ragged sections", { shape: BOX, options: { sections: [4, 6, 10], dims: 20 } });
testCase("positions on two axes", { positions: whole(50, 2), options: { axes: "2d" } });
testCase("positions on three axes of each batch entry", {
  ...{ positions: real(2, 50, 3), options: { axes: "3d", sections: [8, 4, 4] } },
});
testCase("one position for tokens on two axes", {
  ...{ shape: GRID, positions: whole(2, 48), options: { axes: "1d" } },
});
testCase("frequencies", {
  frequencies: { data: Float32Array.of(1, -0.7, 3.5, 1e-7, 0, 1e-3, 100, -2000), shape: [8] },
  options: { offset: 100_000 },
});
testCase("frequencies, scaling and real positions", {
  ...{ frequencies: real(8), positions: real(50), options: { scaling: 0.37, interleaved: true } },
});
testCase("one token", { shape: [1, 1, 32, 128], options: { offset: 4000 } });
testCase("no tokens", { shape: [2, 0, 3, 16] });
testCase("no batch entries", { shape: [0, 5, 3, 16] });
testCase("no heads", { shape: [1, 5, 0, 16] });

/** The largest error of sines and cosines at tokens from a position on. */
async function errorAt(offset: number, options: Options, gpu: Gpu): Promise<number> {
  const [tokens, pairs] = [512, 64];
  const data = Float32Array.from({ length: 2 * tokens * pairs }, (_, n) => Number(n % 128 < 64));
  const out = await compute({ options: { ...options, offset } }, {
    ...{ data, shape: [1, tokens, 1, 2 * pairs] },
  }, gpu);
  let worst = 0;
  for (let t = 0; t < tokens; t++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = (offset + t) * 10000 ** (-pair / pairs);
      const [cosine, sine] = [out[128 * t + pair], out[128 * t + 64 + pair]];
      worst = Math.max(worst, Math.abs(cosine - Math.cos(angle)), Math.abs(sine - Math.sin(angle)));
    }
  }
  return worst;
}

for (const offset of [0, 4000, 32_000, 1_000_000, -1_000_000, 100_000_000]) {
  Deno.test({
    name: `rope() has sines and cosines within 2e-7 from position ${offset} on`,
    ignore,
    async fn() {
      const error = await errorAt(offset, {}, theGpu());

      assert(error < 2e-7, `The largest error is ${error}`);
    },
  });
}

Deno.test({
  name: "rope() makes scores that depend on distances alone, far out as near",
  ignore,
  async fn() {
    const [q, k] = [inputOf({ shape: [1, 1, 1, 64] }), inputOf({ shape: [1, 1, 1, 64] })];
    const score = async (offset: number): Promise<number> => {
      const a = await compute({ options: { offset: offset + 5 } }, q);
      const b = await compute({ options: { offset } }, k);
      return [...a].reduce((sum, x, n) => sum + x * b[n], 0);
    };

    const near = await score(0);

    for (const offset of [1000, 131_072, 10_000_000]) {
      const far = await score(offset);
      assert(Math.abs(far - near) < 3e-6, `The score is ${far} at ${offset}, ${near} at 0`);
    }
  },
});

Deno.test({
  name: "rope() gives the same bits where bindings and grids are short",
  ignore,
  async fn() {
    const limits = { maxStorageBufferBindingSize: 32768, maxComputeWorkgroupsPerDimension: 2 };
    using small = await requestGpu({ poison: true, limits });
    const cases: Case[] = [
      { shape: [3, 100, 2, 64] },
      { shape: [3, 100, 2, 64], positions: whole(3, 100), options: { interleaved: true } },
      { shape: [3, 100, 2, 128], positions: real(100, 2), dtype: "f16", options: { axes: "2d" } },
      { shape: [2, 500, 3, 7], dtype: "f16", options: { dims: 6 } },
      { shape: [2, 8, 9, 3, 16], frequencies: real(8) },
    ];
    for (const c of cases) {
      const x = inputOf(c);

      assertEquals(await compute(c, x, small), await compute(c, x));
    }
    assertThrows(
      () => small.scope(() => rope(small.empty([1, 2, 65, 128], "f32"))),
      RangeError,
      "Cannot plan rope as a token, and positions that batch entries share, must each fit one binding: there are 65 heads of 128 and 2 tokens, the device allows 32768 bytes",
    );
  },
});

Deno.test({
  name: "rope() leaves channels alone that do not rotate, infinite ones too",
  ignore,
  async fn() {
    for (const dims of [2, 8]) {
      const x = inputOf({ shape: [1, 3, 1, 12] });
      x.data.forEach((_, n) => n % 12 >= dims && (x.data[n] = [Infinity, NaN, -0][n % 3]));

      const out = await compute({ options: { dims } }, x);

      const rest = (data: Given["data"]) => [...data].filter((_, n) => n % 12 >= dims);
      assertEquals(rest(out), rest(x.data));
    }
  },
});

Deno.test({
  name: "rope() gives tokens the same bits alone and among others",
  ignore,
  async fn() {
    const x = inputOf({ shape: [1, 20, 3, 16] });
    const token = { data: x.data.slice(17 * 48, 18 * 48), shape: [1, 1, 3, 16] };

    const all = await compute({}, x);

    assertEquals(await compute({ options: { offset: 17 } }, token), all.slice(17 * 48, 18 * 48));
  },
});

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" | "u32" = "f32"): Tensor<"f32"> {
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array }[dtype];
  return theGpu().tensor(new data(volume(shape)), shape) as Tensor<"f32">;
}

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  make: () => [x: unknown, options?: unknown],
  kind: typeof TypeError | typeof RangeError,
  rule: string,
): void {
  Deno.test({
    name: `rope() throws when ${when}`,
    ignore,
    fn() {
      theGpu().scope(() => {
        const [x, options = {}] = make();
        const before = theGpu().memory();
        const error = assertThrows(() => rope(x as Tensor<"f32">, options as RopeOptions), kind);

        assertEquals(error.message, `Cannot compute rope as ${rule}`);
        assertEquals(theGpu().memory(), before);
      });
    },
  });
}

const SHAPE = [2, 5, 3, 16];
/** Tests an option, or several. */
function testOption(
  when: string,
  make: () => object,
  kind: typeof TypeError | typeof RangeError,
  rule: string,
): void {
  testRefusal(when, () => [zeros(SHAPE), make()], kind, rule);
}

testRefusal("x is no tensor", () => [[1, 2]], TypeError, "x must be a Tensor: x is Array");
testRefusal(
  "x has no heads",
  () => [zeros([2, 5, 16])],
  TypeError,
  "x must be [B, T, H, D], with up to two more token axes behind T: x is [2,5,16]",
);
testRefusal(
  "x holds integers",
  () => [zeros(SHAPE, "i32")],
  TypeError,
  "x must be f32 or f16: x is i32",
);
testRefusal(
  "x has one channel",
  () => [zeros([2, 5, 3, 1])],
  RangeError,
  "heads must have 2 to 32768 channels: x is [2,5,3,1]",
);
testOption(
  "an option is unknown",
  () => ({ ofset: 1 }),
  TypeError,
  'options must be known: "ofset" is not, the nearest is "offset"',
);
testOption("base is 0", () => ({ base: 0 }), RangeError, "base must be finite and > 0: base is 0");
testOption(
  "scaling is tiny",
  () => ({ scaling: 1e-5 }),
  RangeError,
  "scaling must be from 0.0001 to 1000000: scaling is 0.00001",
);
testOption(
  "interleaved is a number",
  () => ({ interleaved: 1 }),
  TypeError,
  "interleaved must be true or false: interleaved is 1",
);
for (const dims of [0, 7, 18]) {
  testOption(
    `dims is ${dims}`,
    () => ({ dims }),
    RangeError,
    `dims must be even, from 2 to 16: dims is ${dims}`,
  );
}
testRefusal(
  "channels are odd",
  () => [zeros([2, 5, 3, 7])],
  RangeError,
  "x must have an even head dim, or dims be given: the head dim is 7",
);
testOption(
  "axes is a number",
  () => ({ axes: 2 }),
  RangeError,
  "axes must be one of 1d, 2d, 3d: axes is 2",
);
testOption(
  "axes have no positions",
  () => ({ axes: "2d" }),
  TypeError,
  "positions must be given where x has not as many token axes: axes is 2d, x has 1",
);
testOption(
  "there are no equal sections",
  () => ({ axes: "3d", positions: zeros([5, 3]) }),
  RangeError,
  "sections must be given where dims has no 3 equal even shares: dims is 16",
);
for (const sections of [[8, 6], [16], [9, 7]]) {
  testOption(
    `sections are ${sections}`,
    () => ({ axes: "2d", positions: zeros([5, 2]), sections }),
    RangeError,
    `sections must be 2 even numbers that are 16 together: sections is [${sections}]`,
  );
}
testOption(
  "an offset is no integer",
  () => ({ offset: 0.5 }),
  RangeError,
  "offset must be an integer below 2^31, or 1 of them: offset is 0.5",
);
testOption(
  "offsets are too many",
  () => ({ offset: [1, 2] }),
  RangeError,
  "offset must be an integer below 2^31, or 1 of them: offset is [1,2]",
);
testOption(
  "positions have another shape",
  () => ({ positions: zeros([3, 5], "i32") }),
  TypeError,
  "positions must be [5] or [2,5]: positions is [3,5]",
);
testOption(
  "positions are unsigned",
  () => ({ positions: zeros([5], "u32") }),
  TypeError,
  "positions must be i32 or f32: positions is u32",
);
testOption(
  "frequencies are too many",
  () => ({ frequencies: zeros([8]), dims: 8 }),
  TypeError,
  "frequencies must be [4]: frequencies is [8]",
);
testOption(
  "frequencies are f16",
  () => ({ frequencies: zeros([8], "f16") }),
  TypeError,
  "frequencies must be f32: frequencies is f16",
);
