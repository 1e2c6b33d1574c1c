import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  gla,
  glaStep,
  type Gpu,
  hgrn2,
  hgrn2Step,
  lightningAttention,
  lightningAttentionStep,
  lightningSlopes,
  linearAttention,
  linearAttentionStep,
  mamba2,
  mamba2Step,
  type RecurrenceState,
  requestGpu,
  retention,
  retentionStep,
  rwkv6,
  rwkv6Step,
  simpleGla,
  simpleGlaStep,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const random = new Random(11);
const [T, HQ, HV, K, V] = [21, 2, 4, 16, 12];
const normal = (...shape: number[]) => hostTensor("f32", shape, () => random.normal());
const gates = (...shape: number[]) => hostTensor("f32", shape, () => -Math.abs(random.normal()));
const HOST = {
  q: normal(1, T, HQ, K),
  k: normal(1, T, HQ, K),
  v: normal(1, T, HV, V),
  g: gates(1, T, HV),
  w: gates(1, T, HV, K),
  gv: gates(1, T, HV, V),
  u: normal(HQ, K),
  dt: normal(1, T, HV),
  z: normal(1, T, HV, V),
  a: gates(HV),
  d: normal(HV),
  dSkip: normal(HV, V),
  bias: normal(HV),
};
type Name = keyof typeof HOST;
type Tensors = Record<Name, Tensor<"f32">>;
type State = Tensor<"f32">;

interface Family {
  run(x: Tensors): { out: Tensor<"f32">; finalState?: Tensor<"f32"> };
  step(state: State, x: Tensors): Tensor<"f32">;
  expected(): { out: reference.Float64Tensor; finalState?: reference.Float64Tensor };
}

const { q, k, v, g, w, gv, u, dt, z, a, d, dSkip, bias } = HOST;
const WHOLE = ["u", "a", "d", "dSkip", "bias"];
const all = { finalState: true, scale: 0.3 };
const FAMILIES: Readonly<Record<string, Family>> = {
  retention: {
    run: (x) => retention(x.q, x.k, x.v, all),
    step: (state, x) => retentionStep(state, x.q, x.k, x.v, { scale: 0.3 }),
    expected: () => reference.retention(q, k, v, all),
  },
  lightningAttention: {
    run: (x) => lightningAttention(x.q, x.k, x.v, all),
    step: (state, x) => lightningAttentionStep(state, x.q, x.k, x.v, { scale: 0.3 }),
    expected: () => reference.lightningAttention(q, k, v, all),
  },
  simpleGla: {
    run: (x) => simpleGla(x.q, x.k, x.v, x.g, all),
    step: (state, x) => simpleGlaStep(state, x.q, x.k, x.v, x.g, { scale: 0.3 }),
    expected: () => reference.simpleGla(q, k, v, g, all),
  },
  gla: {
    run: (x) => gla(x.q, x.k, x.v, x.w, { ...all, gv: x.gv }),
    step: (state, x) => glaStep(state, x.q, x.k, x.v, x.w, { gv: x.gv, scale: 0.3 }),
    expected: () => reference.gla(q, k, v, w, { ...all, gv }),
  },
  hgrn2: {
    run: (x) => hgrn2(x.q, x.k, x.v, { ...all, lowerBound: 0.2 }),
    step: (state, x) => hgrn2Step(state, x.q, x.k, x.v, { lowerBound: 0.2, scale: 0.3 }),
    expected: () => reference.hgrn2(q, k, v, { ...all, lowerBound: 0.2 }),
  },
  mamba2: {
    run: (x) =>
      mamba2(x.v, x.dt, x.a, x.k, x.q, {
        ...{ ...all, d: x.d, z: x.z, dtBias: x.bias, dtSoftplus: true, dtLimits: [0.01, 2] },
      }),
    step: (state, x) =>
      mamba2Step(state, x.v, x.dt, x.a, x.k, x.q, {
        ...{ d: x.d, z: x.z, dtBias: x.bias, dtSoftplus: true, dtLimits: [0.01, 2], scale: 0.3 },
      }),
    expected: () =>
      reference.mamba2(v, dt, a, k, q, {
        ...{ ...all, d, z, dtBias: bias, dtSoftplus: true, dtLimits: [0.01, 2] },
      }),
  },
  rwkv6: {
    run: (x) => rwkv6(x.q, x.k, x.v, x.w, x.u, all),
    step: (state, x) => rwkv6Step(state, x.q, x.k, x.v, x.w, x.u, { scale: 0.3 }),
    expected: () => reference.rwkv6(q, k, v, w, u, all),
  },
};

/** Uploads tokens `first` to before `end` of everything. */
function upload(gpu: Gpu, first: number, end: number): Tensors {
  const entries = Object.entries(HOST).map(([name, { data, shape }]) => {
    if (WHOLE.includes(name)) return [name, gpu.tensor(data as Float32Array, shape)];
    const width = data.length / T;
    const part = data.slice(first * width, end * width) as Float32Array;
    return [name, gpu.tensor(part, [1, end - first, ...shape.slice(2)])];
  });
  return Object.fromEntries(entries);
}

for (const [name, { run, step, expected }] of Object.entries(FAMILIES)) {
  Deno.test({
    name: `${name}() agrees with the oracle, its state too`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const { out, finalState } = run(upload(gpu, 0, T));
      const wanted = expected();

      assertEquals([out.shape, finalState?.shape], [[1, T, HV, V], [1, HV, K, V]]);
      assertClose("out", await out.read(), wanted.out.data, { ratio: 1e-5 });
      assert(finalState && wanted.finalState);
      assertClose("state", await finalState.read(), wanted.finalState.data, { ratio: 1e-5 });
    },
  });

  Deno.test({
    name: `${name}Step() goes on in place where ${name}() stopped`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const { finalState } = run(upload(gpu, 0, T - 3));
      assert(finalState);
      const outs: Float32Array[] = [];
      for (let t = T - 3; t < T; t++) {
        outs.push(await step(finalState, upload(gpu, t, t + 1)).read());
      }
      const wanted = expected();

      const tail = wanted.out.data.subarray((T - 3) * HV * V);
      assertClose("out", outs.flatMap((out) => [...out]), tail, { ratio: 1e-5 });
      assert(wanted.finalState);
      assertClose("state", await finalState.read(), wanted.finalState.data, { ratio: 1e-5 });
    },
  });
}

for (const featureMap of ["identity", "elu1", "relu", "exp"] as const) {
  Deno.test({
    name: `linearAttention() maps features by ${featureMap}, normalized, whole and step by step`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const options = { featureMap, normalize: featureMap !== "identity", finalState: true };
      const wanted = reference.linearAttention(q, k, v, options);

      const whole = upload(gpu, 0, T);
      const { out } = linearAttention(whole.q, whole.k, whole.v, options);
      assertClose("out", await out.read(), wanted.out.data, { ratio: 1e-5 });

      const head = upload(gpu, 0, T - 1);
      const tail = upload(gpu, T - 1, T);
      const { finalState } = linearAttention(head.q, head.k, head.v, options);
      assert(finalState);
      const last = linearAttentionStep(finalState, tail.q, tail.k, tail.v, { featureMap });
      const expected = wanted.out.data.subarray((T - 1) * HV * V);
      assertClose("last", await last.read(), expected, { ratio: 1e-5 });
      const { finalState: state } = wanted;
      if (state && "z" in state) {
        const { s, z } = finalState as RecurrenceState;
        assertClose("s", await s.read(), state.s.data, { ratio: 1e-5 });
        assertClose("z", await z.read(), state.z.data, { ratio: 1e-5 });
      }
    },
  });
}

Deno.test({
  name: "mamba2() reads plain steps, at scale 1, with a skip weight for each channel",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const x = upload(gpu, 0, T);
    const steps = hostTensor("f32", [1, T, HV], () => 2 * random.next());
    const given = gpu.tensor(steps.data as Float32Array, steps.shape);
    const expected = reference.mamba2(v, steps, a, k, q, { d: dSkip }).out.data;

    for (const options of [{ mode: "loop" }, { mode: "chunk", chunkSize: 16 }] as const) {
      const { out } = mamba2(x.v, given, x.a, x.k, x.q, { d: x.dSkip, ...options });
      assertClose(`out by ${options.mode}`, await out.read(), expected, { ratio: 1e-5 });
    }
    const { out } = mamba2(x.v, given, x.a, x.k, x.q, { d: x.dSkip, schedule: "naive" });
    assertClose("out of naive", await out.read(), expected, { ratio: 1e-5 });
  },
});

Deno.test({
  name: "mamba2() reads an output gate in a buffer that nobody may copy",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const x = upload(gpu, 0, T);
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    const buffer = gpu.device.createBuffer({ size: z.data.byteLength, usage: STORAGE | COPY_DST });
    gpu.device.queue.writeBuffer(buffer, 0, z.data.buffer as ArrayBuffer);

    const wrapped = gpu.wrap(buffer, z.shape, "f32");
    const { out } = mamba2(x.v, x.dt, x.a, x.k, x.q, { z: wrapped, dtSoftplus: true });

    const expected = reference.mamba2(v, dt, a, k, q, { z, dtSoftplus: true }).out.data;
    assertClose("out", await out.read(), expected, { ratio: 1e-5 });
    buffer.destroy();
  },
});

Deno.test({
  name: "hgrn2() loses nothing where gates are saturated, and pads no channel",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const [queries, values] = [normal(1, 9, 1, 7), normal(1, 9, 1, 5)];
    const f = hostTensor("f32", [1, 9, 1, 7], () => random.pick([-90, -20, 0, 20, 90]));
    const x = [queries, f, values].map(({ data, shape }) =>
      gpu.tensor(data as Float32Array, shape)
    );

    for (const schedule of [undefined, "workgroup", "naive"]) {
      const { out } = hgrn2(x[0], x[1], x[2], schedule === undefined ? {} : { schedule });
      const expected = reference.hgrn2(queries, f, values).out.data;
      assertClose(`out of ${schedule}`, await out.read(), expected, { ratio: 1e-5 });
      const exp = linearAttention(x[0], x[1], x[2], {
        featureMap: "elu1",
        ...(schedule && { schedule }),
      });
      const mapped = reference.linearAttention(queries, f, values, { featureMap: "elu1" });
      assertClose(`elu1 of ${schedule}`, await exp.out.read(), mapped.out.data, { ratio: 1e-5 });
    }
  },
});

Deno.test("lightningSlopes() equals the oracle's for every number of heads", () => {
  for (const heads of [1, 2, 3, 6, 8, 12, 16]) {
    assertEquals(lightningSlopes(heads, "alibi"), reference.lightningSlopes(heads, "alibi"));
    const rule = { layer: 2, layers: 7 };
    assertEquals(lightningSlopes(heads, rule), reference.lightningSlopes(heads, rule));
  }
  assertThrows(
    () => lightningSlopes(4, { layer: 3, layers: 3 }),
    RangeError,
    "Cannot make slopes as layer must be 0 to layers - 1: layer is 3, layers is 3",
  );
});

Deno.test({
  name: "the families refuse what they do not have, in their own name",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = upload(gpu, 0, 4);
    const refused = (call: () => unknown, message: string): void => {
      assertThrows(call, Error, message);
    };

    refused(
      () => retention(x.q, x.k, x.v, { g: x.g } as object),
      'Cannot compute retention as options must be known: "g" is not, the nearest is',
    );
    refused(
      () => gla(x.q, x.k, x.v, x.g),
      "Cannot compute gated linear attention as g must be [B, T, HV, K] = [1,4,4,16]: g is [1,4,4]",
    );
    refused(
      () => lightningAttention(x.q, x.k, x.v, { slopes: [1, 2] }),
      "Cannot compute lightning attention as slopes must be 4 numbers >= 0, one for each head: slopes is [1,2]",
    );
    refused(
      () => rwkv6(x.q, x.k, x.v, x.w, undefined as unknown as Tensor),
      "Cannot compute RWKV-6 as u must be a Tensor: u is undefined",
    );
    refused(
      () => rwkv6(x.v, x.k, x.v, x.w, x.u),
      "Cannot compute RWKV-6 as r and k must share a key dim: current values are r=12, k=16",
    );
    refused(
      () => rwkv6(x.q, x.k, x.v, x.g, x.u),
      "Cannot compute RWKV-6 as w must be [B, T, HV, K] = [1,4,4,16]: w is [1,4,4]",
    );
    refused(
      () => hgrn2(x.q, x.v, x.v),
      "Cannot compute HGRN2 as q and f must share a key dim: current values are q=16, f=12",
    );
    refused(
      () => mamba2(x.v, x.dt, x.a, x.v, x.q),
      "Cannot compute Mamba-2 as c and b must share a key dim: current values are c=16, b=12",
    );
    refused(
      () => mamba2(x.v, x.dt, x.a, x.k, x.q, { dtLimits: [2, 1] }),
      "Cannot compute Mamba-2 as dtLimits must be [least, most], two numbers: dtLimits is [2,1]",
    );
    refused(
      () => mamba2(x.v, x.dt, x.a, x.k, x.q, { dtSoftplus: 1 as unknown as boolean }),
      "Cannot compute Mamba-2 as dtSoftplus must be true or false: dtSoftplus is 1",
    );
    refused(
      () => hgrn2(x.q, x.k, x.v, null as unknown as object),
      "Cannot compute HGRN2 as options must be an object: options is null",
    );
    refused(
      () => gla(x.q, x.k, x.v, x.w, { gv: null as unknown as Tensor }),
      "Cannot compute gated linear attention as gv must be a Tensor: gv is null",
    );
    refused(
      () => simpleGlaStep(undefined as unknown as State, x.q, x.k, x.v, x.g),
      "Cannot compute simple gated linear attention as a step needs a state: state is undefined",
    );
    refused(
      () => retentionStep(x.q as State, x.q, x.k, x.v),
      "Cannot compute retention as state must be [1,4,16,12]: state is [1,4,2,16]",
    );
  },
});
