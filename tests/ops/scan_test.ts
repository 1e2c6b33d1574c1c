import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { flattened, nested } from "../../cli/records.ts";
import {
  type Gpu,
  hgrn,
  logCumsumExp,
  requestGpu,
  scan,
  softmaxScan,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

const PARAMETERS = {
  scan: ["a", "b"],
  hgrn: ["x", "g"],
  logCumsumExp: ["x"],
  softmaxScan: ["s", "v"],
} as const;
const KINDS = ["scan", "hgrn", "logCumsumExp", "softmaxScan"] as const;
type Kind = typeof KINDS[number];

const WAYS = { loop: { mode: "loop" }, chunk: { mode: "chunk", chunkSize: 16 } } as const;
type Way = keyof typeof WAYS;
const BOTH = ["loop", "chunk"] as const;

/** A problem; two batch entries of 37 tokens with two heads of 8 channels, all f32, by default. */
interface Case {
  batch: number;
  length: number;
  heads: number;
  width: number;
  /** Storage of b, x and v, and of a, g and s. */
  dtype: "f32" | "f16";
  weightType: "f32" | "f16";
  /** Exponents and scores, 5 normal by default, and decays, 0.8 to 1. */
  exponent: (random: Random) => number;
  decay: (random: Random) => number;
  initial: boolean;
  final: boolean;
  cuSeqlens: readonly number[] | null;
  reverse: boolean;
}

type Inputs = Readonly<Record<string, HostTensor>>;
type Outputs = Readonly<Record<string, ArrayLike<number>>>;

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 2, length: 37, heads: 2, width: 8, dtype: "f32", weightType: "f32" },
    ...{ exponent: (random) => 5 * random.normal(), decay: (random) => 1 - 0.2 * random.next() },
    ...{ initial: true, final: true, cuSeqlens: null, reverse: false },
    ...part,
  };
}

/** The arguments by name: heads and channels are two axes of every operator. */
function inputsOf(kind: Kind, c: Case): Inputs {
  const random = new Random(3);
  const normal = () => random.normal();
  const [exponent, decay] = [() => c.exponent(random), () => c.decay(random)];
  const rows = [c.batch, c.length, c.heads];
  const states = [c.cuSeqlens ? c.cuSeqlens.length - 1 : c.batch, c.heads];
  const inputs = {
    scan: {
      a: hostTensor(c.weightType, [...rows, c.width], decay),
      b: hostTensor(c.dtype, [...rows, c.width], normal),
    },
    hgrn: {
      x: hostTensor(c.dtype, [...rows, c.width], normal),
      g: hostTensor(c.weightType, [...rows, c.width], () => Math.log(c.decay(random))),
    },
    logCumsumExp: { x: hostTensor(c.dtype, [...rows, c.width], exponent) },
    softmaxScan: {
      s: hostTensor(c.weightType, rows, exponent),
      v: hostTensor(c.dtype, [...rows, c.width], normal),
    },
  };
  const state = kind === "softmaxScan"
    ? {
      "initialState.m": hostTensor("f32", states, normal),
      "initialState.u": hostTensor("f32", states, () => 1 + random.next()),
      "initialState.w": hostTensor("f32", [...states, c.width], normal),
    }
    : { initialState: hostTensor("f32", [...states, c.width], normal) };
  return { ...inputs[kind], ...(c.initial && state) } as Inputs;
}

/** Calls an operator, or its reference, with arguments by name. */
function call<T extends object>(
  operators: Record<Kind, (...args: never[]) => object>,
  kind: Kind,
  inputs: Readonly<Record<string, T>>,
  options: object,
): Record<string, T> {
  const parameters: readonly string[] = PARAMETERS[kind];
  const others = Object.entries(inputs).filter(([name]) => !parameters.includes(name));
  const called = operators[kind] as (...args: unknown[]) => object;
  const given = { ...options, ...nested(Object.fromEntries(others)) };
  return flattened<T>(called(...parameters.map((name) => inputs[name]), given));
}

/** Uploads, computes, reads and frees. */
async function compute(
  kind: Kind,
  c: Case,
  inputs: Inputs,
  way: Way,
  gpu: Gpu = theGpu(),
): Promise<Outputs> {
  const { cuSeqlens, reverse, final: finalState } = c;
  const before = gpu.memory().tensors;
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  const packed = cuSeqlens && gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]);
  const options = { reverse, finalState, ...WAYS[way], ...(packed && { cuSeqlens: packed }) };
  const results = call<Tensor>({ scan, hgrn, logCumsumExp, softmaxScan }, kind, tensors, options);
  const outputs: Record<string, ArrayLike<number>> = {};
  for (const [name, tensor] of Object.entries(results)) outputs[name] = await tensor.read();
  for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.dispose();
  packed?.dispose();
  assertEquals(gpu.memory().tensors, before);
  return outputs;
}

/** Computes a case in float64. */
function expectedOf(
  kind: Kind,
  { cuSeqlens, reverse, final: finalState }: Case,
  inputs: Inputs,
): Outputs {
  const packed = cuSeqlens && { data: cuSeqlens, shape: [cuSeqlens.length] };
  const options = { reverse, finalState, ...(packed && { cuSeqlens: packed }) };
  const results = call<reference.ReferenceTensor>(reference, kind, inputs, options);
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
}

async function assertMatches(kind: Kind, c: Case, way: Way, gpu = theGpu()): Promise<void> {
  const inputs = inputsOf(kind, c);
  const actual = await compute(kind, c, inputs, way, gpu);
  const expected = expectedOf(kind, c, inputs);
  assertEquals(Object.keys(actual), Object.keys(expected));
  for (const [name, data] of Object.entries(expected)) {
    const ratio = c.dtype === "f16" && name === "out" ? 1e-3 : 1e-5;
    assertClose(name, actual[name], data, { ratio });
  }
}

/** Asserts that two arrays hold the same bits. */
function assertSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i])) assertEquals(actual[i], expected[i], `element ${i}`);
  }
}

/** Tests that a case agrees with float64, in every scan and form. */
function testCase(name: string, part: Partial<Case>, kinds: readonly Kind[] = KINDS): void {
  for (const kind of kinds) {
    for (const way of BOTH) {
      Deno.test({
        name: `${kind}() matches the reference for ${name} (${way})`,
        ignore,
        fn: () => assertMatches(kind, caseOf(part), way),
      });
    }
  }
}

const PACKED: Partial<Case> = { batch: 1, length: 63, cuSeqlens: [0, 0, 1, 30, 30, 31, 63, 63] };
const hard = (random: Random) => random.pick([-Infinity, 1e3, -1e3]) + random.normal();

testCase("states in and out", {});
testCase("no initial state", { initial: false });
testCase("no states", { initial: false, final: false });
testCase("packed sequences", PACKED);
testCase("packed sequences from their ends", { ...PACKED, reverse: true });
testCase("several chunks from their ends", { length: 100, reverse: true });
testCase("ragged channels", { width: 5, heads: 3 });
testCase("one channel", { width: 1, heads: 1 });
testCase("more channels than a workgroup has", { width: 270, length: 20 });
testCase("f16", { dtype: "f16", weightType: "f16" });
testCase("f16 of ragged channels", { dtype: "f16", weightType: "f16", width: 3, heads: 1 });
testCase("f16 with decays and scores in f32", { dtype: "f16" }, ["scan", "hgrn", "softmaxScan"]);
testCase("one token", { length: 1 });
testCase("no tokens", { length: 0 });
testCase("no batch entries", { batch: 0 });
testCase("exponents of 1000 and -Infinity", { exponent: hard, initial: false }, [
  ...["logCumsumExp", "softmaxScan"] as const,
]);
testCase("decays of 0 and of either sign", {
  decay: (random) => random.pick([0, -0.5, 1, 1]),
}, ["scan"]);
testCase("gates of -Infinity, 0 and above", {
  decay: (random) => random.pick([0, 1e-40, 1, 1.1]),
}, ["hgrn"]);

for (const kind of KINDS) {
  for (const way of BOTH) {
    Deno.test({
      name: `${kind}() gives the same bits where loops, bindings and grids are short (${way})`,
      ignore,
      async fn() {
        const limits = {
          maxLoopIterations: 20,
          maxStorageBufferBindingSize: 16384,
          maxComputeWorkgroupsPerDimension: 2,
        };
        using small = await requestGpu({ poison: true, limits });
        const parts = [
          { length: 700 },
          { length: 300, width: 7, reverse: true },
          { length: 700, initial: false, final: false },
          PACKED,
        ];
        for (const part of parts) {
          const c = caseOf(part);
          const inputs = inputsOf(kind, c);

          const actual = await compute(kind, c, inputs, way, small);

          const expected = await compute(kind, c, inputs, way);
          for (const [name, data] of Object.entries(expected)) assertSameBits(actual[name], data);
        }
      },
    });

    Deno.test({
      name: `${kind}() gives the same bits whatever comes later (${way})`,
      ignore,
      async fn() {
        const c = caseOf({ batch: 1, length: 100 });
        const inputs = inputsOf(kind, c);
        const changed = Object.fromEntries(
          Object.entries(inputs).map(([name, { data, shape }]) => {
            const copy = data.slice();
            if (!name.startsWith("initialState")) copy.fill(9, 57 * data.length / 100);
            return [name, { data: copy, shape }];
          }),
        );

        const actual = await compute(kind, c, changed, way);

        const { out } = await compute(kind, c, inputs, way);
        const kept = 57 * c.heads * c.width;
        assertSameBits(Array.from(actual.out).slice(0, kept), Array.from(out).slice(0, kept));
      },
    });

    Deno.test({
      name: `${kind}() gives a sequence the same bits packed and alone (${way})`,
      ignore,
      async fn() {
        const c = caseOf({ batch: 2, length: 70, initial: false });
        const inputs = inputsOf(kind, c);
        const packed = Object.fromEntries(
          Object.entries(inputs).map(([name, { data, shape }]) => [
            name,
            { data, shape: [1, 140, ...shape.slice(2)] },
          ]),
        );
        const cuSeqlens = [0, 0, 70, 140];

        const actual = await compute(kind, { ...c, batch: 1, length: 140, cuSeqlens }, packed, way);

        const { out } = await compute(kind, c, inputs, way);
        assertSameBits(actual.out, out);
      },
    });
  }
}

/** A tensor of numbers, one channel. */
function channel(...data: number[]): Tensor<"f32"> {
  return theGpu().tensor(Float32Array.from(data), [1, data.length]);
}

/** Reads a tensor and frees it with its like. */
async function read({ out }: { out: Tensor<"f32"> }, ...inputs: Tensor[]): Promise<number[]> {
  const data = [...await out.read()];
  for (const tensor of [out, ...inputs]) tensor.dispose();
  return data;
}

Deno.test({
  name: "scan() goes on from a final state as if it had not stopped",
  ignore,
  async fn() {
    const data = [1, 0.5, 3, 0.25, 7, 0.125];
    const [whole, first, second] = [data, data.slice(0, 4), data.slice(4)].map((x) =>
      channel(...x)
    );
    const start = scan(first, first, { finalState: true });
    assert(start.finalState !== undefined);

    const rest = await read(scan(second, second, { initialState: start.finalState }), second);

    assertEquals(rest, (await read(scan(whole, whole), whole)).slice(4));
    for (const tensor of [first, start.out, start.finalState]) tensor.dispose();
  },
});

Deno.test({
  name: "scan() restarts behind decays whose product overflows",
  ignore,
  async fn() {
    const tokens = Array.from({ length: 96 }, (_, t) => t);
    const a = channel(...tokens.map((t) => t === 40 ? 0 : t < 40 ? 1e3 : 1));
    const b = channel(...tokens.map((t) => t < 40 ? 0 : 2));

    for (const mode of BOTH) {
      const { out } = scan(a, b, { mode, chunkSize: 64 });
      const h = await read({ out });
      assertEquals(h.slice(0, 40), Array(40).fill(0));
      assertEquals(h.slice(40), Array.from({ length: 56 }, (_, t) => 2 * t + 2));
    }
    for (const tensor of [a, b]) tensor.dispose();
  },
});

Deno.test({
  name: "logCumsumExp() is exact for one exponential, and to a rounding for little more",
  ignore,
  async fn() {
    const x = channel(0, -12);

    const [first, second] = await read(logCumsumExp(x), x);

    assertEquals(first, 0);
    assertAlmostEquals(second, Math.log1p(Math.exp(-12)), 6e-8);
  },
});

Deno.test({
  name: "softmaxScan() does not read the values of scores of -Infinity",
  ignore,
  async fn() {
    const s = theGpu().tensor(Float32Array.of(-Infinity, 2, -Infinity), [1, 3, 1]);
    const v = theGpu().tensor(Float32Array.of(NaN, 5, Infinity), [1, 3, 1, 1]);

    assertEquals(await read(softmaxScan(s, v), s, v), [0, 5, 5]);
  },
});
