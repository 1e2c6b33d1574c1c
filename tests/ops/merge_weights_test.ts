import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  type AttentionOptions,
  type Gpu,
  mergeAttention,
  type MergeOptions,
  requestGpu,
  Tensor,
} from "../../mod.ts";
import { mergeAttention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

const WEIGHTS: readonly NonNullable<AttentionOptions["weight"]>[] = [
  ...["softmax", "sigmoid", "softplus", "relu", "elu1", "none", "stickBreaking"],
  { code: "s * s" },
  { code: "tanh(s)", normalize: false },
];

interface HostArray {
  data: Float32Array | Float16Array;
  shape: number[];
}

type Elem = "f32" | "f16";

function hostArray(shape: number[], next: () => number, elem: Elem = "f32"): HostArray {
  const length = shape.reduce((product, axis) => product * axis, 1);
  const values = Float32Array.from({ length }, next);
  return { data: elem === "f16" ? new Float16Array(values) : values, shape };
}

function upload(gpu: Gpu, { data, shape }: HostArray): Tensor<"f32"> {
  return gpu.tensor(data, shape) as Tensor<"f32">;
}

for (const weight of WEIGHTS) {
  const name = typeof weight === "string" ? weight : weight.code;
  Deno.test({
    name: `mergeAttention() of three sections of the keys equals attention() over all for ${name}`,
    ignore,
    async fn() {
      for (const [elem, ratio] of [["f32", 2e-5], ["f16", 2e-3]] as const) {
        const gpu = theGpu();
        const random = new Random(1);
        const [q, k, v] = [20, 30, 30].map((tokens) =>
          hostArray([1, tokens, 2, 8], () => random.normal(), elem)
        );
        const over = (first: number, end: number) => {
          const [keys, values] = [k, v].map(({ data }) => ({
            ...{ data: data.slice(first * 16, end * 16), shape: [1, end - first, 2, 8] },
          }));
          const inputs = [q, keys, values].map((array) => upload(gpu, array));
          return attention(inputs[0], inputs[1], inputs[2], { weight, aux: true });
        };
        const parts = [over(21, 30), over(8, 21), over(0, 8)]; // the latest keys first

        const merged = mergeAttention(parts, { weight });
        const inner = mergeAttention(parts.slice(1), { weight });
        const nested = mergeAttention([parts[0], inner], { weight });

        const whole = over(0, 30);
        for (const { out, lse, aux } of [merged, nested]) {
          assertClose("out", await out.read(), await whole.out.read(), { ratio });
          const kept = lse ?? aux;
          assertEquals(kept === undefined, whole.aux === undefined);
          if (!kept || !whole.aux) continue;
          assertClose("aux", await kept.read(), await whole.aux.read(), { ratio: 2e-5 });
        }
      }
    },
  });
}

interface MixCase {
  shape: number[];
  options: Omit<MergeOptions, "coefficients" | "weight"> & {
    weight?: "softmax" | "relu" | "stickBreaking";
  };
  /** Numbers, and the shapes of those that are tensors; one for each part. */
  coefficients: (number | number[])[];
  elem?: Elem;
}

const NOTHING = { softmax: -Infinity, relu: 0, stickBreaking: -Infinity };

/** Merges on the GPU and in float64; one row in four of each part saw no key or left no stick. */
async function assertMixes(c: MixCase, gpu: Gpu = theGpu()): Promise<void> {
  const { shape, options: { renormalize = false, ...options }, elem = "f32" } = c;
  const random = new Random(c.coefficients.length);
  const { weight = "softmax" } = options;
  const kept = (): number =>
    random.next() < 0.25 ? NOTHING[weight] : (weight === "stickBreaking" ? -2 : 2) * random.next();
  const parts = c.coefficients.map(() => ({
    out: hostArray(shape, () => random.normal(), elem),
    aux: hostArray(shape.slice(0, -1), kept),
  }));
  const factors = c.coefficients.map((factor) =>
    typeof factor === "number" ? factor : hostArray(factor, () => random.normal() + 0.5)
  );
  const before = gpu.memory().tensors;
  const tensors = parts.map(({ out, aux }) => ({ out: upload(gpu, out), aux: upload(gpu, aux) }));
  const coefficients = factors.map((x) => typeof x === "number" ? x : upload(gpu, x));

  const merged = mergeAttention(tensors, { ...c.options, coefficients });

  const expected = renormalize
    ? reference(renormalized(parts, factors, weight), options)
    : reference(parts, { ...options, coefficients: factors });
  const ratio = elem === "f16" ? 2e-3 : 2e-5;
  assertEquals(merged.out.dtype, elem);
  assertClose("out", await merged.out.read(), expected.out.data, { ratio });
  assertEquals(merged.lse === undefined, expected.lse === undefined);
  const aux = merged.lse ?? merged.aux;
  assertEquals(aux === undefined, expected.aux === undefined);
  if (aux && expected.aux) {
    assertClose("aux", await aux.read(), expected.aux.data, { ratio: 2e-5 });
  }
  const made = [...tensors, merged].flatMap((part) => [part.out, part.aux]);
  for (const x of [...made, merged.lse, ...coefficients]) if (x instanceof Tensor) x.dispose();
  assertEquals(gpu.memory().tensors, before);
}

/** Parts whose scores of softmax, or weights of relu, have the coefficients in them. */
function renormalized(
  parts: { out: HostArray; aux: HostArray }[],
  factors: (number | HostArray)[],
  weight: "softmax" | "relu" | "stickBreaking",
) {
  return parts.map(({ out, aux: { data, shape } }, p) => {
    const factor = factors[p];
    const aux = Array.from(data, (x, row) => {
      const c = typeof factor === "number" ? factor : factor.data[row % factor.data.length];
      return weight === "softmax" ? x + Math.log(Math.max(c, 0)) : x * Math.max(c, 0);
    });
    return { out, aux: { data: aux, shape } };
  });
}

const SHAPE = [2, 9, 3, 8];
const ROWS = [2, 9, 3];

Deno.test({
  name: "mergeAttention() mixes parts by numbers, per head and per row, whatever they saw",
  ignore,
  async fn() {
    await assertMixes({ shape: SHAPE, options: {}, coefficients: [0.3, 0.7] });
    await assertMixes({ shape: SHAPE, options: {}, coefficients: [[3], ROWS] });
    await assertMixes({ shape: [7, 3, 5], options: {}, coefficients: [ROWS.slice(2), -2, [7, 3]] });
    await assertMixes({ shape: SHAPE, options: {}, coefficients: [ROWS] });
    await assertMixes({ shape: SHAPE, options: {}, coefficients: [1, [3], ROWS, 0], elem: "f16" });
  },
});

Deno.test({
  name: "mergeAttention() multiplies masses of every weight by coefficients, without more",
  ignore,
  async fn() {
    for (const weight of ["softmax", "relu", "stickBreaking"] as const) {
      const options = { weight, masses: true };
      await assertMixes({ shape: SHAPE, options, coefficients: [1, 0.25] });
      await assertMixes({ shape: SHAPE, options, coefficients: [[3], ROWS, -1, ROWS] });
      await assertMixes({ shape: SHAPE, options, coefficients: [0.5] });
    }
    const options = { masses: true };
    await assertMixes({ shape: [1, 5, 3, 6], options, coefficients: [[3], 2, 0], elem: "f16" });
  },
});

Deno.test({
  name: "mergeAttention() renormalizes masses as if coefficients were in the scores",
  ignore,
  async fn() {
    for (const weight of ["softmax", "relu"] as const) {
      const options = { weight, masses: true, renormalize: true };
      await assertMixes({ shape: SHAPE, options, coefficients: [2, 0.25] });
      await assertMixes({ shape: SHAPE, options, coefficients: [[3], ROWS, 0, ROWS] });
    }
  },
});

Deno.test({
  name: "mergeAttention() splits rows of weights and coefficients that exceed a binding",
  ignore,
  async fn() {
    const limits = { maxStorageBufferBindingSize: 16384, maxComputeWorkgroupsPerDimension: 2 };
    using gpu = await requestGpu({ poison: true, limits });
    const shape = [1, 500, 3, 8];
    const coefficients = [[3], [1, 500, 3], 2];

    await assertMixes({ shape, options: {}, coefficients }, gpu);
    await assertMixes({ shape, options: { weight: "relu", masses: true }, coefficients }, gpu);
    assertEquals(
      mergeAttention([{ out: upload(gpu, hostArray([0, 3, 8], () => 0)) }], { weight: "none" })
        .out.shape,
      [0, 3, 8],
    );
  },
});

Deno.test({
  name: "mergeAttention() does not read outputs that count 0 times",
  ignore,
  async fn() {
    const gpu = theGpu();
    const part = (out: number, aux: number) => ({
      ...{
        out: gpu.tensor(Float32Array.of(out), [1, 1]),
        aux: gpu.tensor(Float32Array.of(aux), [1]),
      },
    });
    const first = async (options: MergeOptions, ...parts: ReturnType<typeof part>[]) =>
      (await mergeAttention(parts, options).out.read())[0];

    assertEquals(await first({}, part(NaN, -Infinity), part(3, 1)), 3);
    assertEquals(await first({ weight: "relu" }, part(3, 1), part(NaN, 0)), 3);
    assertEquals(await first({ coefficients: [0, 2] }, part(NaN, 1), part(3, 1)), 6);
    const stick = [part(3, -Infinity), part(NaN, -1)];
    assertEquals(await first({ weight: "stickBreaking" }, ...stick), 3);
    assertEquals(await first({ weight: "softplus" }, part(1, 0), part(1, 0)), 0);
  },
});

Deno.test({
  name: "mergeAttention() gives an aux of softmax the bits of an lse, and counts a part twice",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(3);
    const [a, b] = [1, 2].map(() => ({
      out: upload(gpu, hostArray(SHAPE, () => random.normal())),
      aux: upload(gpu, hostArray(ROWS, () => random.normal())),
    }));
    const withLse = mergeAttention([a, b].map(({ out, aux }) => ({ out, lse: aux })));
    const withAux = mergeAttention([a, b]);
    assert(withAux.lse !== undefined);
    assertEquals(await withAux.out.read(), await withLse.out.read());
    assertEquals(await withAux.lse.read(), await withLse.lse.read());

    const twice = mergeAttention([a, a], { weight: "none" });
    assertEquals(await twice.out.read(), (await a.out.read()).map((x) => 2 * x));
  },
});

Deno.test({
  name: "mergeAttention() scales the weight of the first key as ZeroTuning does (T25)",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(4);
    const [q, k, v] = [1, 2, 3].map(() =>
      upload(gpu, hostArray([1, 9, 2, 8], () => random.normal()))
    );
    const gains = gpu.tensor(Float32Array.of(3, 0.25), [2]);
    const scores = Float32Array.from(
      { length: 18 },
      (_, n) => n % 9 > 0 ? 0 : Math.log(n === 0 ? 3 : 0.25),
    );
    const part = (mask: string) => attention(q, k, v, { mask, lse: true, aux: true });

    const { out, lse } = mergeAttention([part("j == 0"), part("j > 0")], {
      ...{ coefficients: [gains, 1], masses: true, renormalize: true },
    });

    const bias = gpu.tensor(scores, [1, 2, 1, 9]);
    const expected = attention(q, k, v, { bias, lse: true });
    assert(lse !== undefined && expected.lse !== undefined);
    assertClose("out", await out.read(), await expected.out.read(), { ratio: 2e-5 });
    assertClose("lse", await lse.read(), await expected.lse.read(), { ratio: 2e-5 });
  },
});

Deno.test({
  name: "mergeAttention() of weights and coefficients outlives other work in a caller's encoder",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const random = new Random(5);
    const parts = [1, 2, 3, 4].map(() => ({
      out: hostArray(SHAPE, () => random.normal()),
      aux: hostArray(ROWS, () => random.next()),
    }));
    const factors = [
      2,
      hostArray([3], () => random.next()),
      hostArray(ROWS, () => random.next()),
      1,
    ];
    const tensors = parts.map(({ out, aux }) => ({ out: upload(gpu, out), aux: upload(gpu, aux) }));
    const coefficients = factors.map((x) => typeof x === "number" ? x : upload(gpu, x));
    const options = { weight: "elu1", masses: true } as const;
    const encoder = gpu.device.createCommandEncoder();

    const merged = gpu.record(encoder, () => mergeAttention(tensors, { ...options, coefficients }));
    await assertMixes({ shape: SHAPE, options: {}, coefficients: [1, 2, 3] }, gpu);
    gpu.device.queue.submit([encoder.finish()]);

    const expected = reference(parts, { ...options, coefficients: factors });
    assertClose("out", await merged.out.read(), expected.out.data, { ratio: 2e-5 });
  },
});

Deno.test({
  name: "mergeAttention() throws for options and coefficients that do not fit",
  ignore,
  fn() {
    const gpu = theGpu();
    const [out, aux] = [gpu.empty([1, 4, 2, 8], "f32"), gpu.empty([1, 4, 2], "f32")];
    const part = { out, aux };
    const refuse = (options: unknown, parts: unknown = [part, part]): string =>
      assertThrows(() => mergeAttention(parts as [], options as MergeOptions), Error).message
        .replace("Cannot merge attention as ", "");

    assertEquals(
      refuse({ weigth: "relu" }),
      'options must be known: "weigth" is not, the nearest is "weight"',
    );
    assertEquals(
      refuse({ weight: "relu" }, [{ out, lse: aux }]),
      "parts[0].aux must be a Tensor: parts[0].aux is undefined",
    );
    assertEquals(
      refuse({ weight: "relu" }, [part, { out, aux: out }]),
      "parts must share a shape: parts[1].aux must be [1,4,2], it is [1,4,2,8]",
    );
    assertEquals(
      refuse({ coefficients: [1] }),
      "coefficients must be an array of one per part: there are 2 parts, coefficients is 1",
    );
    assertEquals(
      refuse({ coefficients: [1, null] }),
      "coefficients[1] must be a number or a Tensor: it is null",
    );
    assertEquals(
      refuse({ coefficients: [NaN, 1] }),
      "coefficients[0] must be a finite f32: it is NaN",
    );
    assertEquals(
      refuse({ coefficients: [1, gpu.empty([4, 2], "f32")] }),
      "coefficients[1] must be [1,4,2] or [2]: coefficients[1] is [4,2]",
    );
    assertEquals(
      refuse({ coefficients: [1, gpu.empty([2], "f16")] }),
      "coefficients[1] must be f32: coefficients[1] is f16",
    );
    assertEquals(refuse({ masses: true }), "masses must come with coefficients: there are none");
    assertEquals(
      refuse({ renormalize: true }),
      "renormalize must come with coefficients: there are none",
    );
    assertEquals(
      refuse({ renormalize: true, coefficients: [1, 1] }),
      "renormalize must come with masses: masses is false",
    );
    const renormalize = { masses: true, renormalize: true };
    assertEquals(
      refuse({ ...renormalize, weight: "sigmoid", coefficients: [1, 1] }),
      "renormalize must come with a weight that is divided by its sum: weight is another",
    );
    assertEquals(
      refuse({ ...renormalize, coefficients: [1, -1] }),
      "coefficients[1] must be a finite f32 >= 0: it is -1",
    );
    assertEquals(
      refuse({ masses: 1, coefficients: [1, 1] }),
      "masses must be true or false: masses is 1",
    );
  },
});
