import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  comba,
  combaStep,
  deltaProduct,
  deltaProductStep,
  deltaRule,
  deltaRuleStep,
  dplr,
  dplrStep,
  gatedDeltaRule,
  gatedDeltaRuleStep,
  gdn2,
  gdn2Step,
  type Gpu,
  kda,
  kdaStep,
  recurrence,
  requestGpu,
  rwkv7,
  rwkv7Step,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const random = new Random(23);
const [T, HQ, HK, HV, K, V] = [70, 4, 2, 4, 16, 12];
/** Loops and chunks, whose bits may differ. */
const MODES = [{ mode: "loop" }, { mode: "chunk", chunkSize: 16 }] as const;

const normal = (...shape: number[]) => hostTensor("f32", shape, () => random.normal());
const short = (...shape: number[]) => hostTensor("f32", shape, () => random.normal() * K ** -0.5);
const rates = (...shape: number[]) => hostTensor("f32", shape, () => random.next());
const gates = (...shape: number[]) => hostTensor("f32", shape, () => -random.next());
type Host = ReturnType<typeof hostTensor>;

/** Rows of all tokens; those that end in 2 are two for each. */
const HOST = {
  q: normal(1, T, HQ, K),
  k: short(1, T, HK, K),
  v: normal(1, T, HV, V),
  beta: rates(1, T, HV),
  p: short(1, T, HK, K),
  g: gates(1, T, HV),
  w: gates(1, T, HV, K),
  erase: rates(1, T, HV, K),
  write: rates(1, T, HV, V),
  a: short(1, T, HK, K),
  b: short(1, T, HV, K),
  k2: short(1, 2 * T, HK, K),
  v2: normal(1, 2 * T, HV, V),
  beta2: rates(1, 2 * T, HV),
};
type Name = keyof typeof HOST;
type Hosts = Readonly<Record<Name, Host>>;
type Rows = Record<Name, Tensor<"f32">>;
type State = Tensor<"f32">;

/** What the tests ask of all operators alike. */
interface Asked {
  readonly initialState?: State;
  readonly finalState?: boolean;
  readonly cuSeqlens?: Tensor<"i32">;
  readonly mode?: "loop" | "chunk";
  readonly chunkSize?: 16 | 32 | 64;
}

interface Operator {
  run(x: Rows, options: Asked): { out: Tensor<"f32">; finalState?: State };
  step(state: State, x: Rows): Tensor<"f32">;
}

const two = { householders: 2 };
const OPERATORS: Readonly<Record<string, Operator>> = {
  deltaRule: {
    run: (x, options) => deltaRule(x.q, x.k, x.v, x.beta, options),
    step: (state, x) => deltaRuleStep(state, x.q, x.k, x.v, x.beta),
  },
  gatedDeltaRule: {
    run: (x, options) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, options),
    step: (state, x) => gatedDeltaRuleStep(state, x.q, x.k, x.v, x.g, x.beta),
  },
  deltaProduct: {
    run: (x, options) => deltaProduct(x.q, x.k2, x.v2, x.g, x.beta2, { ...two, ...options }),
    step: (state, x) => deltaProductStep(state, x.q, x.k2, x.v2, x.g, x.beta2, two),
  },
  kda: {
    run: (x, options) => kda(x.q, x.k, x.v, x.w, x.beta, options),
    step: (state, x) => kdaStep(state, x.q, x.k, x.v, x.w, x.beta),
  },
  gdn2: {
    run: (x, options) => gdn2(x.q, x.k, x.v, x.w, x.erase, x.write, options),
    step: (state, x) => gdn2Step(state, x.q, x.k, x.v, x.w, x.erase, x.write),
  },
  comba: {
    run: (x, options) => comba(x.q, x.k, x.v, x.p, x.g, x.beta, options),
    step: (state, x) => combaStep(state, x.q, x.k, x.v, x.p, x.g, x.beta),
  },
  dplr: {
    run: (x, options) => dplr(x.q, x.k, x.v, x.a, x.b, x.w, options),
    step: (state, x) => dplrStep(state, x.q, x.k, x.v, x.a, x.b, x.w),
  },
  rwkv7: {
    run: (x, options) => rwkv7(x.q, x.w, x.k, x.v, x.a, x.b, options),
    step: (state, x) => rwkv7Step(state, x.q, x.w, x.k, x.v, x.a, x.b),
  },
};

const loaded = (gpu: Gpu, { data, shape }: Host): Tensor<"f32"> =>
  gpu.tensor(data, shape) as Tensor<"f32">;

/** Uploads tokens `first` to before `end` of everything. */
function upload(gpu: Gpu, first = 0, end = T, hosts: Hosts = HOST): Rows {
  const entries = Object.entries(hosts).map(([name, { data, shape: [, rows, ...shape] }]) => {
    const width = data.length / T;
    const part = data.slice(first * width, end * width);
    return [name, gpu.tensor(part, [1, (end - first) * rows / T, ...shape])];
  });
  return Object.fromEntries(entries);
}

/** Everything, with other values behind the first tokens. */
function changed(tokens: number, value: (old: number) => number): Hosts {
  const entries = Object.entries(HOST).map(([name, { data, shape }]) => {
    const kept = tokens * data.length / T;
    return [name, { data: Float32Array.from(data, (x, i) => i < kept ? x : value(x)), shape }];
  });
  return Object.fromEntries(entries);
}

async function statesOf(state: State | undefined): Promise<Float32Array> {
  assert(state);
  return await state.read();
}

for (const [name, { run, step }] of Object.entries(OPERATORS)) {
  Deno.test({
    name: `${name}() keeps every bit of outputs where later tokens change`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const tokens = 37;
      for (const mode of MODES) {
        const whole = await run(upload(gpu), mode).out.read();
        for (const value of [(x: number) => 0.9 * x, () => NaN]) {
          const others = upload(gpu, 0, T, changed(tokens, value));
          const out = await run(others, mode).out.read();

          const [seen, later] = [tokens * HV * V, (tokens + 1) * HV * V];
          assertEquals(out.subarray(0, seen), whole.subarray(0, seen));
          assertNotEquals(out.subarray(seen, later), whole.subarray(seen, later));
        }
      }
    },
  });

  Deno.test({
    name: `${name}() agrees in a loop and in chunks of 16, 32 and 64`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const initialState = loaded(gpu, normal(1, HV, K, V));
      const options = { initialState, finalState: true };
      const x = upload(gpu);
      const loop = run(x, { ...options, mode: "loop" });
      const [out, state] = [await loop.out.read(), await statesOf(loop.finalState)];

      for (const chunkSize of [16, 32, 64] as const) {
        const chunk = run(x, { ...options, mode: "chunk", chunkSize });
        assertClose(`out of ${chunkSize}`, await chunk.out.read(), out, { ratio: 1e-5 });
        const behind = await statesOf(chunk.finalState);
        assertClose(`state of ${chunkSize}`, behind, state, { ratio: 1e-5 });
      }
    },
  });

  Deno.test({
    name: `${name}() resumed at cuts equals one run`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      for (const mode of MODES) {
        const whole = run(upload(gpu), { ...mode, finalState: true });
        let state: State | undefined;
        const outs: number[] = [];
        const cuts = [0, 1, 17, 18, 50, T];
        for (const [n, end] of cuts.slice(1).entries()) {
          const options = { ...mode, finalState: true, ...(state && { initialState: state }) };
          const piece = run(upload(gpu, cuts[n], end), options);
          outs.push(...await piece.out.read());
          state = piece.finalState;
        }

        assertClose("out", outs, await whole.out.read(), { ratio: 1e-5 });
        const expected = await statesOf(whole.finalState);
        assertClose("state", await statesOf(state), expected, { ratio: 1e-5 });
      }
    },
  });

  Deno.test({
    name: `${name}() on packed sequences equals separate calls to the bit in a loop`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const bounds = [0, 9, 9, 40, T];
      const cuSeqlens = gpu.tensor(Int32Array.from(bounds), [bounds.length]);
      const options = { finalState: true, mode: "loop" } as const;
      const packed = run(upload(gpu), { ...options, cuSeqlens });
      const [out, states] = [await packed.out.read(), await statesOf(packed.finalState)];

      for (const [n, end] of bounds.slice(1).entries()) {
        const first = bounds[n];
        const own = states.subarray(n * HV * K * V, (n + 1) * HV * K * V);
        if (first === end) {
          assertEquals(own, new Float32Array(HV * K * V));
          continue;
        }
        const alone = run(upload(gpu, first, end), options);
        assertEquals(out.subarray(first * HV * V, end * HV * V), await alone.out.read());
        assertEquals(own, await statesOf(alone.finalState));
      }
    },
  });

  Deno.test({
    name: `${name}Step() goes on in place where ${name}() stopped`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const whole = run(upload(gpu), { finalState: true });
      const start = T - 9;
      const { finalState } = run(upload(gpu, 0, start), { finalState: true });
      assert(finalState);
      const outs: number[] = [];
      for (let t = start; t < T - 3; t++) {
        outs.push(...await step(finalState, upload(gpu, t, t + 1)).read());
      }
      outs.push(...await step(finalState, upload(gpu, T - 3, T)).read());

      const expected = (await whole.out.read()).subarray(start * HV * V);
      assertClose("out", outs, expected, { ratio: 1e-5 });
      const behind = await statesOf(whole.finalState);
      assertClose("state", await finalState.read(), behind, { ratio: 1e-5 });
    },
  });

  Deno.test({
    name: `${name}() and ${name}Step() leave memory as it was`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const [x, token] = [upload(gpu), upload(gpu, 0, 1)];
      const state = loaded(gpu, normal(1, HV, K, V));
      const before = gpu.memory();
      for (let call = 0; call < 3; call++) {
        for (const mode of MODES) {
          const { out, finalState } = run(x, { ...mode, finalState: true });
          out.dispose();
          finalState?.dispose();
        }
        step(state, token).dispose();
      }
      await gpu.submit();

      const { bytes, tensors } = gpu.memory();
      assertEquals([bytes, tensors], [before.bytes, before.tensors]);
    },
  });
}

Deno.test({
  name: "deltaRule() replaces what was stored where keys are equal and beta is 1",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const unit = Float32Array.of(0.6, 0, -0.8, 0);
    const keys = { data: Float32Array.from({ length: 4 * T }, (_, i) => unit[i % 4]) };
    const k = gpu.tensor(keys.data, [1, T, 1, 4]);
    const v = normal(1, T, 1, V);
    const beta = gpu.tensor(new Float32Array(T).fill(1), [1, T, 1]);

    for (const mode of MODES) {
      const options = { ...mode, scale: 1, finalState: true };
      const { out, finalState } = deltaRule(k, k, loaded(gpu, v), beta, options);

      assertClose("out", await out.read(), v.data, { ratio: 1e-6 });
      const last = v.data.slice((T - 1) * V);
      const expected = [...unit].flatMap((x) => [...last].map((y) => x * y));
      assertClose("state", await statesOf(finalState), expected, { ratio: 1e-6 });
    }
  },
});

Deno.test({
  name: "delta rules change no bit of the state where keys and gates are 0",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const zeros = (host: Host): Host => ({ ...host, data: new Float32Array(host.data.length) });
    const { k, k2, g, w } = HOST;
    const none = { ...HOST, k: zeros(k), k2: zeros(k2), g: zeros(g), w: zeros(w) };
    const x = upload(gpu, 0, T, none);
    const initialState = loaded(gpu, normal(1, HV, K, V));
    const before = await initialState.read();

    for (const mode of MODES) {
      const options = { ...mode, initialState, finalState: true };
      const normed = deltaRule(x.q, x.k, x.v, x.beta, { ...options, qkL2norm: true });
      assertEquals(await statesOf(normed.finalState), before);
      for (const name of ["deltaRule", "gatedDeltaRule", "deltaProduct", "kda", "gdn2", "comba"]) {
        const { finalState } = OPERATORS[name].run(x, options);
        assertEquals(await statesOf(finalState), before);
      }
    }
  },
});

/** Tests that two operators compute the same, out and state, in loops and in chunks. */
function testEqual(
  name: string,
  make: (gpu: Gpu, x: Rows, options: Asked) => ReturnType<Operator["run"]>[],
): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      for (const mode of MODES) {
        const [own, other] = make(gpu, upload(gpu), { ...mode, finalState: true });
        assertClose("out", await own.out.read(), await other.out.read(), { ratio: 1e-6 });
        const expected = await statesOf(other.finalState);
        assertClose("state", await statesOf(own.finalState), expected, { ratio: 1e-6 });
      }
    },
  });
}

/** `[1, T, HV, K]` of what each channel has. */
function channels(at: (t: number, head: number, channel: number) => number): Host {
  const data = Float32Array.from({ length: T * HV * K }, (_, i) => {
    const row = Math.floor(i / K);
    return at(Math.floor(row / HV), row % HV, i % K);
  });
  return { data, shape: [1, T, HV, K] };
}

testEqual("gatedDeltaRule() with gates of 0 equals deltaRule()", (gpu, x, options) => [
  gatedDeltaRule(x.q, x.k, x.v, gpu.tensor(new Float32Array(T * HV), [1, T, HV]), x.beta, options),
  deltaRule(x.q, x.k, x.v, x.beta, options),
]);

testEqual("kda() with one gate for all channels equals gatedDeltaRule()", (gpu, x, options) => {
  const g = loaded(gpu, channels((t, head) => Number(HOST.g.data[t * HV + head])));
  return [
    kda(x.q, x.k, x.v, g, x.beta, options),
    gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, options),
  ];
});

testEqual("dplr() with a = −e^g p and b = beta k equals recurrence()", (gpu, x, options) => {
  const { w, p, k, v, beta } = HOST;
  const ofKey = ({ data }: Host, t: number, head: number, d: number) =>
    Number(data[(t * HK + Math.floor(head * HK / HV)) * K + d]);
  const rate = (t: number, head: number) => Number(beta.data[t * HV + head]);
  const a = channels((t, head, d) =>
    -Math.exp(Number(w.data[(t * HV + head) * K + d])) * ofKey(p, t, head, d)
  );
  const b = channels((t, head, d) => rate(t, head) * ofKey(k, t, head, d));
  const values = Float32Array.from(v.data, (x, i) => x * Number(beta.data[Math.floor(i / V)]));
  const written = loaded(gpu, { data: values, shape: v.shape });
  const engine = recurrence(x.q, x.k, x.v, { g: x.w, beta: x.beta, p: x.p, ...options });
  return [
    dplr(x.q, x.k, written, loaded(gpu, a), loaded(gpu, b), x.w, options),
    engine as ReturnType<Operator["run"]>,
  ];
});

testEqual("deltaProduct() with one write of a token equals gatedDeltaRule()", (_, x, options) => [
  deltaProduct(x.q, x.k, x.v, x.g, x.beta, options),
  gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, options),
]);

Deno.test({
  name: "deltaProduct() equals gatedDeltaRule() on all writes, read behind the last of a token",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const x = upload(gpu);
    const { q, g } = HOST;
    const spread = ({ data, shape: [, , ...shape] }: Host, again: number): Tensor<"f32"> => {
      const width = data.length / T;
      const rows = Array.from({ length: T }, (_, t) => [...data.slice(t * width, (t + 1) * width)]);
      const twice = rows.flatMap((row) => [...row, ...row.map((value) => again * value)]);
      return gpu.tensor(Float32Array.from(twice), [1, 2 * T, ...shape]);
    };
    const whole = gatedDeltaRule(spread(q, 1), x.k2, x.v2, spread(g, 0), x.beta2);
    const all = await whole.out.read();
    const last = all.filter((_, i) => Math.floor(i / (HV * V)) % 2 === 1);

    for (const mode of MODES) {
      const { out } = deltaProduct(x.q, x.k2, x.v2, x.g, x.beta2, { ...two, ...mode });
      assertClose("out", await out.read(), last, { ratio: 1e-5 });
    }
  },
});

const shared = adapter === null ? null : await requestGpu();
const [B, S] = [2, 6];

/** B 2, T 6, HQ 4, HK 2, HV 4, K 8, V 12, unless a call says otherwise. */
const SHAPES = {
  q: [B, S, 4, 8],
  k: [B, S, 2, 8],
  v: [B, S, 4, 12],
  beta: [B, S, 4],
  p: [B, S, 2, 8],
  g: [B, S, 4],
  w: [B, S, 4, 8],
  erase: [B, S, 4, 8],
  write: [B, S, 4, 12],
  a: [B, S, 2, 8],
  b: [B, S, 4, 8],
  k2: [B, 2 * S, 2, 8],
  v2: [B, 2 * S, 4, 12],
  beta2: [B, 2 * S, 4],
  u: [2, 8],
  gv: [B, S, 4, 12],
  aLog: [4],
};
type Given = Record<keyof typeof SHAPES | "i32", Tensor<"f32">>;

function zeros(shape: readonly number[], data = Float32Array): Tensor<"f32"> {
  assert(shared);
  const size = shape.reduce((product, length) => product * length, 1);
  return shared.tensor(new data(size), shape) as Tensor<"f32">;
}

/** What only callers without types can give. */
const any = (value: unknown): never => value as never;

type Refusal = readonly [
  when: string,
  call: (x: Given, odd: Tensor<"f32">) => unknown,
  rule: string,
  odd?: readonly number[],
];

/** Tests that calls throw exactly this, and that nothing is allocated or recorded. */
function testRefusals(
  name: string,
  action: string,
  refusals: readonly Refusal[],
  kind: typeof TypeError | typeof RangeError = TypeError,
): void {
  for (const [when, call, rule, odd = [1]] of refusals) {
    Deno.test({
      name: "deltaRule() by its baseline walks sequences that its loops would not end on llvmpipe",
      ignore,
      async fn() {
        using gpu = await requestGpu({ poison: true });
        const draw = (scale: number, ...shape: number[]) =>
          hostTensor("f32", shape, () => scale * random.normal());
        const [q, k] = [draw(1, 1, 500, 1, 64), draw(1, 1, 500, 1, 64)];
        const [v, beta] = [draw(1, 1, 500, 1, 4), rates(1, 500, 1)];
        const options = { qkL2norm: true, schedule: "naive" } as const;
        const out = gpu.scope(() => {
          const [qs, ks, vs, betas] = [q, k, v, beta].map(({ data, shape }) =>
            gpu.tensor(data, shape) as Tensor<"f32">
          );
          return deltaRule(qs, ks, vs, betas, options).out;
        });

        const expected = reference.deltaRule(q, k, v, beta, { qkL2norm: true }).out.data;
        assertClose("out", await out.read(), expected, { ratio: 1e-4 });
      },
    });

    Deno.test({
      name: `${name}() throws when ${when}`,
      ignore,
      fn() {
        assert(shared);
        shared.scope(() => {
          const shapes = Object.entries(SHAPES).map(([name, shape]) => [name, zeros(shape)]);
          const i32 = zeros(SHAPES.beta, any(Int32Array));
          const given: Given = { ...Object.fromEntries(shapes), i32 };
          const other = zeros(odd);
          const before = shared.memory();
          const error = assertThrows(() => call(given, other), kind);

          assertEquals(error.message, `Cannot ${action} as ${rule}`);
          assertEquals(error.constructor, kind);
          assertEquals(shared.memory(), before);
        });
      },
    });
  }
}

const engine = (options: (x: Given, odd: Tensor<"f32">) => object) =>
(
  x: Given,
  odd: Tensor<"f32">,
): unknown => recurrence(x.q, x.k, x.v, options(x, odd));
const EXCLUDED = "a and b exclude beta and p, the delta rule: given are";
const NO_ERASE = "gv, u and normalize exclude beta, a and b: given are";
const ROWS = "[2,6,2,8] or [2,6,4,8]";

testRefusals("recurrence", "compute a recurrence", [
  ...[[4], [B, S], [B, S, 2], [B, S, 4, 1]].map((shape): Refusal => [
    `beta is [${shape}]`,
    engine((_, beta) => ({ beta })),
    `beta must be [2,6,4]: beta is [${shape}]`,
    shape,
  ]),
  ["beta is a number", engine(() => ({ beta: 1 })), "beta must be a Tensor: beta is 1"],
  [
    "beta holds integers",
    engine(({ i32 }) => ({ beta: i32 })),
    "beta must be f32 or f16: beta is i32",
  ],
  ["a comes without b", engine(({ a }) => ({ a })), "a and b come together: given are a"],
  ["b comes without a", engine(({ b }) => ({ b })), "a and b come together: given are b"],
  [
    "a and b come with beta",
    engine(({ a, b, beta }) => ({ a, b, beta })),
    `${EXCLUDED} beta, a, b`,
  ],
  ["a and b come with p", engine(({ a, b, p }) => ({ a, b, p })), `${EXCLUDED} p, a, b`],
  ["p comes without beta", engine(({ p }) => ({ p })), "p needs beta: given are p"],
  ["u comes with beta", engine(({ u, beta }) => ({ u, beta })), `${NO_ERASE} beta, u`],
  ["gv comes with beta", engine(({ gv, beta }) => ({ gv, beta })), `${NO_ERASE} beta, gv`],
  [
    "normalize comes with beta",
    engine(({ beta }) => ({ beta, normalize: true })),
    `${NO_ERASE} beta, normalize`,
  ],
  ["u comes with a and b", engine(({ u, a, b }) => ({ u, a, b })), `${NO_ERASE} a, b, u`],
  [
    "everything comes with a and b",
    engine(({ u, gv, a, b }) => ({ u, gv, a, b, normalize: true })),
    `${NO_ERASE} a, b, gv, u, normalize`,
  ],
  [
    "p has one head",
    engine(({ beta }, p) => ({ beta, p })),
    `p must be ${ROWS}: p is [2,6,1,8]`,
    [B, S, 1, 8],
  ],
  [
    "a has the width of v",
    engine(({ b }, a) => ({ a, b })),
    `a must be ${ROWS}: a is [2,6,4,12]`,
    [B, S, 4, 12],
  ],
  [
    "b has one axis",
    engine(({ a }, b) => ({ a, b })),
    `b must be ${ROWS}: b is [8]`,
    [8],
  ],
]);

testRefusals("deltaRule", "compute the delta rule", [
  [
    "beta is missing",
    (x) => deltaRule(x.q, x.k, x.v, any(undefined)),
    "beta must be a Tensor: beta is undefined",
  ],
  [
    "beta has the heads of k",
    (x, odd) => deltaRule(x.q, x.k, x.v, odd),
    "beta must be [2,6,4]: beta is [2,6,2]",
    [B, S, 2],
  ],
  [
    "qkL2norm is 1",
    (x) => deltaRule(x.q, x.k, x.v, x.beta, { qkL2norm: any(1) }),
    "qkL2norm must be true or false: qkL2norm is 1",
  ],
  [
    "an option is unknown",
    (x) => deltaRule(x.q, x.k, x.v, x.beta, any({ scales: 1 })),
    'options must be known: "scales" is not, the nearest is "scale"',
  ],
  [
    "an option is that of another family, whatever the others are",
    (x) => deltaRule(x.q, x.k, x.v, x.beta, any({ allowNegativeEigenvalues: true, qkL2norm: 1 })),
    'options must be known: "allowNegativeEigenvalues" is not, the nearest is "initialState"',
  ],
  [
    "options is null",
    (x) => deltaRule(x.q, x.k, x.v, x.beta, any(null)),
    "options must be an object: options is null",
  ],
  [
    "v has one axis",
    (x, v) => deltaRule(x.q, x.k, v, x.beta),
    "v must have 4 axes [B, T, heads, dim]: v is [1]",
  ],
]);

testRefusals("gatedDeltaRule", "compute the gated delta rule", [
  [
    "dtBias comes without aLog",
    (x) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, { dtBias: x.aLog }),
    "dtBias and lowerBound need aLog: given are dtBias",
  ],
  [
    "aLog has the heads of k",
    (x, aLog) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, { aLog }),
    "aLog must be [4]: aLog is [2]",
    [2],
  ],
  [
    "dtBias is of channels",
    (x, dtBias) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, { aLog: x.aLog, dtBias }),
    "dtBias must be [4]: dtBias is [4,8]",
    [4, 8],
  ],
  [
    "allowNegativeEigenvalues comes without betaSigmoid",
    (x) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, { allowNegativeEigenvalues: true }),
    "allowNegativeEigenvalues needs betaSigmoid: betaSigmoid is false",
  ],
  [
    "g is of channels",
    (x) => gatedDeltaRule(x.q, x.k, x.v, x.w, x.beta),
    "g must be [B, T, HV] = [2,6,4]: g is [2,6,4,8]",
  ],
  [
    "g is of heads",
    (x) => gatedDeltaRule(x.q, x.k, x.v, x.aLog, x.beta),
    "g must be [B, T, HV] = [2,6,4]: g is [4]",
  ],
  [
    "an option is unknown",
    (x) => gatedDeltaRule(x.q, x.k, x.v, x.g, x.beta, any({ betaSigmoids: true })),
    'options must be known: "betaSigmoids" is not, the nearest is "betaSigmoid"',
  ],
]);

testRefusals("kda", "compute Kimi delta attention", [
  [
    "dtBias comes without aLog",
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, { dtBias: x.aLog }),
    "dtBias and lowerBound need aLog: given are dtBias",
  ],
  [
    "lowerBound comes without aLog",
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, { lowerBound: -5 }),
    "dtBias and lowerBound need aLog: given are lowerBound",
  ],
  [
    "v has one axis",
    (x, v) => kda(x.q, x.k, v, x.w, x.beta, { aLog: x.aLog }),
    "v must have 4 axes [B, T, heads, dim]: v is [1]",
  ],
  [
    "both come without aLog",
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, { dtBias: x.aLog, lowerBound: -5 }),
    "dtBias and lowerBound need aLog: given are dtBias, lowerBound",
  ],
  [
    "dtBias is of heads",
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, { aLog: x.aLog, dtBias: x.aLog }),
    "dtBias must be [4,8]: dtBias is [4]",
  ],
  [
    "g is of tokens",
    (x) => kda(x.q, x.k, x.v, x.g, x.beta),
    "g must be [B, T, HV, K] = [2,6,4,8]: g is [2,6,4]",
  ],
  [
    "an option is unknown",
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, any({ lowerBounds: -5 })),
    'options must be known: "lowerBounds" is not, the nearest is "lowerBound"',
  ],
]);

testRefusals(
  "kda",
  "compute Kimi delta attention",
  [0, 1, NaN, -Infinity].map((lowerBound): Refusal => [
    `lowerBound is ${lowerBound}`,
    (x) => kda(x.q, x.k, x.v, x.w, x.beta, { aLog: x.aLog, lowerBound }),
    `lowerBound must be a finite number below 0: lowerBound is ${lowerBound}`,
  ]),
  RangeError,
);

testRefusals("gdn2", "compute Gated DeltaNet 2", [
  [
    "v has one axis",
    (x, v) => gdn2(x.q, x.k, v, x.w, x.erase, x.write),
    "v must have 4 axes [B, T, heads, dim]: v is [1]",
  ],
  [
    "erase has one axis",
    (x, erase) => gdn2(x.q, x.k, x.v, x.w, erase, x.write),
    `erase must be ${ROWS}: erase is [1]`,
  ],
  [
    "erase has the width of v",
    (x) => gdn2(x.q, x.k, x.v, x.w, x.write, x.write),
    `erase must be ${ROWS}: erase is [2,6,4,12]`,
  ],
  [
    "erase is of tokens",
    (x) => gdn2(x.q, x.k, x.v, x.w, x.beta, x.write),
    `erase must be ${ROWS}: erase is [2,6,4]`,
  ],
  [
    "write has five axes",
    (x, write) => gdn2(x.q, x.k, x.v, x.w, x.erase, write),
    "write must be [2,6,4,12]: write is [2,6,4,12,1]",
    [B, S, 4, 12, 1],
  ],
  [
    "write has the width of k",
    (x) => gdn2(x.q, x.k, x.v, x.w, x.erase, x.erase),
    "write must be [2,6,4,12]: write is [2,6,4,8]",
  ],
  [
    "write is missing",
    (x) => gdn2(x.q, x.k, x.v, x.w, x.erase, any(undefined)),
    "write must be a Tensor: write is undefined",
  ],
  [
    "g is of tokens",
    (x) => gdn2(x.q, x.k, x.v, x.g, x.erase, x.write),
    "g must be [B, T, HV, K] = [2,6,4,8]: g is [2,6,4]",
  ],
  [
    "an option is unknown",
    (x) => gdn2(x.q, x.k, x.v, x.w, x.erase, x.write, any({ modes: "loop" })),
    'options must be known: "modes" is not, the nearest is "mode"',
  ],
]);

testRefusals("comba", "compute Comba", [
  [
    "p is missing",
    (x) => comba(x.q, x.k, x.v, any(undefined), x.g, x.beta),
    "p must be a Tensor: p is undefined",
  ],
  [
    "v has one axis",
    (x, v) => comba(x.q, x.k, v, x.p, x.g, x.beta),
    "v must have 4 axes [B, T, heads, dim]: v is [1]",
  ],
  [
    "p has the width of v",
    (x) => comba(x.q, x.k, x.v, x.write, x.g, x.beta),
    `p must be ${ROWS}: p is [2,6,4,12]`,
  ],
  [
    "an option is unknown",
    (x) => comba(x.q, x.k, x.v, x.p, x.g, x.beta, any({ Reverse: true })),
    'options must be known: "Reverse" is not, the nearest is "reverse"',
  ],
]);

testRefusals("dplr", "compute a diagonal plus low-rank recurrence", [
  [
    "b is missing",
    (x) => dplr(x.q, x.k, x.v, x.a, any(null), x.w),
    "b must be a Tensor: b is null",
  ],
  [
    "a has the width of v",
    (x) => dplr(x.q, x.k, x.v, x.write, x.b, x.w),
    `a must be ${ROWS}: a is [2,6,4,12]`,
  ],
  [
    "an option is unknown",
    (x) => dplr(x.q, x.k, x.v, x.a, x.b, x.w, any({ beta: x.beta })),
    'options must be known: "beta" is not, the nearest is "mode"',
  ],
]);

testRefusals("rwkv7", "compute RWKV-7", [
  [
    "w is missing",
    (x) => rwkv7(x.q, any(undefined), x.k, x.v, x.a, x.b),
    "w must be a Tensor: w is undefined",
  ],
  [
    "b has the width of v",
    (x) => rwkv7(x.q, x.w, x.k, x.v, x.a, x.write),
    `b must be ${ROWS}: b is [2,6,4,12]`,
  ],
  [
    "w is of tokens",
    (x) => rwkv7(x.q, x.g, x.k, x.v, x.a, x.b),
    "w must be [B, T, HV, K] = [2,6,4,8]: w is [2,6,4]",
  ],
  [
    "r is shorter than k",
    (x, r) => rwkv7(r, x.w, x.k, x.v, x.a, x.b),
    "r and k and v must share a length: current values are r=5, k=6, v=6",
    [B, S - 1, 4, 8],
  ],
]);

const ROWS_OF_TOKENS =
  "k and v must have householders rows for each token of q: current lengths are";
const product = (householders: unknown) => (x: Given): unknown =>
  deltaProduct(x.q, x.k2, x.v2, x.g, x.beta2, { householders: any(householders) });

testRefusals(
  "deltaProduct",
  "compute DeltaProduct",
  [0, -2, 1.5, NaN, null].map((householders): Refusal => [
    `householders is ${householders}`,
    product(householders),
    `householders must be an integer >= 1: householders is ${householders}`,
  ]),
  RangeError,
);

testRefusals("deltaProduct", "compute DeltaProduct", [
  [
    "k has rows for one write of two",
    (x) => deltaProduct(x.q, x.k, x.v, x.g, x.beta, two),
    `${ROWS_OF_TOKENS} q=6, k=6, v=6, householders is 2`,
  ],
  [
    "k has a row that is no token's",
    (x, k) => deltaProduct(x.q, k, x.v2, x.g, x.beta2, two),
    `${ROWS_OF_TOKENS} q=6, k=11, v=12, householders is 2`,
    [B, 2 * S - 1, 2, 8],
  ],
  [
    "v has rows for one write of two",
    (x) => deltaProduct(x.q, x.k2, x.v, x.g, x.beta2, two),
    `${ROWS_OF_TOKENS} q=6, k=12, v=6, householders is 2`,
  ],
  [
    "householders does not divide the rows",
    product(5),
    `${ROWS_OF_TOKENS} q=6, k=12, v=12, householders is 5`,
  ],
  [
    "beta has a row for each token",
    (x) => deltaProduct(x.q, x.k2, x.v2, x.g, x.beta, two),
    "beta must be [2,12,4]: beta is [2,6,4]",
  ],
  [
    "an option is unknown",
    (x) => deltaProduct(x.q, x.k2, x.v2, x.g, x.beta2, any({ ...two, householder: 2 })),
    'options must be known: "householder" is not, the nearest is "householders"',
  ],
]);

const ACTIONS: Readonly<Record<string, string>> = {
  deltaRule: "compute the delta rule",
  gatedDeltaRule: "compute the gated delta rule",
  deltaProduct: "compute DeltaProduct",
  kda: "compute Kimi delta attention",
  gdn2: "compute Gated DeltaNet 2",
  comba: "compute Comba",
  dplr: "compute a diagonal plus low-rank recurrence",
  rwkv7: "compute RWKV-7",
};
for (const [name, action] of Object.entries(ACTIONS)) {
  testRefusals(`${name}Step`, action, [
    [
      "there is no state",
      (x) => OPERATORS[name].step(any(undefined), x),
      "a step needs a state: state is undefined",
    ],
  ]);
}
