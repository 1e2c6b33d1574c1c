import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { type HostTensor, hostTensor, TOLERANCE } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  based,
  type BasedOptions,
  type BasedResult,
  type Gpu,
  linearAttention,
  type RecurrenceState,
  requestGpu,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new tensor is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** How rows are handed round, as far as the device has it. */
const SCHEDULES = shared?.features.subgroups ? ["subgroup", "workgroup", "blocks"] : ["workgroup"];

/** A problem; one sequence of 41 tokens with two heads of 5 key and 12 value channels by default. */
interface Case {
  readonly length: number;
  /** HQ, HK and HV. */
  readonly heads: readonly [number, number, number];
  readonly dims: readonly [keyDim: number, valueDim: number];
  readonly dtype: "f32" | "f16";
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  readonly reverse: boolean;
}

interface Inputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly state?: { readonly s: HostTensor; readonly z: HostTensor };
}

/** Options that are no tensors. */
type Options = Pick<BasedOptions, "mode" | "chunkSize" | "schedule">;

interface Outputs {
  readonly out: Float32Array | Float16Array;
  readonly s: Float32Array;
  readonly z: Float32Array;
}

const caseOf = (part: Partial<Case>): Case => ({
  ...{ length: 41, heads: [2, 2, 2], dims: [5, 12], dtype: "f32", initial: true, reverse: false },
  ...part,
});

function inputsOf({ length, heads, dims, dtype, initial, cuSeqlens }: Case): Inputs {
  const random = new Random(7);
  const normal = (type: "f32" | "f16", ...shape: number[]) =>
    hostTensor(type, shape, () => random.normal());
  const [[qHeads, kHeads, vHeads], [keyDim, valueDim]] = [heads, dims];
  const features = 1 + keyDim + keyDim * (keyDim + 1) / 2;
  const rows = [(cuSeqlens?.length ?? 2) - 1, vHeads, features];
  const z = normal("f32", ...rows);
  z.data.forEach((_, i) => i % features === 0 && (z.data[i] = 40)); // divisors stay away from 0
  return {
    q: normal(dtype, 1, length, qHeads, keyDim),
    k: normal(dtype, 1, length, kHeads, keyDim),
    v: normal(dtype, 1, length, vHeads, valueDim),
    ...(initial && { state: { s: normal("f32", ...rows, valueDim), z } }),
  };
}

/** Calls an operator on uploaded tensors. */
async function compute(c: Case, { q, k, v, state }: Inputs, options: Options): Promise<Outputs> {
  const gpu = theGpu();
  const { cuSeqlens, reverse } = c;
  const up = ({ data, shape }: HostTensor) => gpu.tensor(data as Float32Array, shape);
  const { out, finalState } = based(up(q), up(k), up(v), {
    ...{ ...options, reverse, scale: 0.4, finalState: true },
    ...(cuSeqlens && { cuSeqlens: gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]) }),
    ...(state && { initialState: { s: up(state.s), z: up(state.z) } }),
  });
  assert(finalState);
  return { out: await out.read(), s: await finalState.s.read(), z: await finalState.z.read() };
}

function expected({ cuSeqlens, reverse }: Case, { q, k, v, state }: Inputs): BasedReference {
  const bounds = cuSeqlens && { data: cuSeqlens, shape: [cuSeqlens.length] };
  const options = { reverse, scale: 0.4, finalState: true };
  const { out, finalState } = reference.based(q, k, v, {
    ...options,
    ...(bounds && { cuSeqlens: bounds }),
    ...(state && { initialState: state }),
  });
  assert(finalState);
  return { out: out.data, s: finalState.s.data, z: finalState.z.data };
}

type BasedReference = Readonly<Record<keyof Outputs, ArrayLike<number>>>;

function assertAgrees(name: string, actual: Outputs, wanted: BasedReference, ratio: number): void {
  assertClose(`out of ${name}`, actual.out, wanted.out, { ratio });
  assertClose(`s of ${name}`, actual.s, wanted.s, { ratio });
  assertClose(`z of ${name}`, actual.z, wanted.z, { ratio });
}

/** Empty sequences, one of a token, one of less than a tile, and one of several chunks. */
const PACKED = [0, 0, 1, 8, 41, 41];

const CASES: Readonly<Record<string, Case>> = {
  "from a state": caseOf({}),
  "from nothing": caseOf({ initial: false, length: 16 }),
  "in reverse": caseOf({ reverse: true }),
  "packed sequences": caseOf({ cuSeqlens: PACKED }),
  "packed sequences in reverse": caseOf({ cuSeqlens: PACKED, reverse: true }),
  "grouped queries": caseOf({ heads: [6, 1, 2] }),
  "grouped states": caseOf({ heads: [1, 2, 4] }),
  "f16": caseOf({ dtype: "f16", dims: [8, 16], heads: [4, 2, 2] }),
  "f16 of odd rows": caseOf({ dtype: "f16", dims: [5, 7], cuSeqlens: PACKED }),
  "several blocks of columns": caseOf({ dims: [3, 70] }),
  "153 features": caseOf({ dims: [16, 12], heads: [1, 1, 1] }),
  "253 features": caseOf({ dims: [21, 4], heads: [1, 1, 1], length: 20 }),
};

for (const [name, c] of Object.entries(CASES)) {
  Deno.test({
    name: `based() in chunks agrees with the oracle: ${name}`,
    ignore,
    async fn() {
      const inputs = inputsOf(c);
      const wanted = expected(c, inputs);
      // the text of many features takes long to compile
      for (const schedule of c.dims[0] < 20 ? SCHEDULES : SCHEDULES.slice(0, 1)) {
        const actual = await compute(c, inputs, { mode: "chunk", chunkSize: 16, schedule });
        assertAgrees(schedule, actual, wanted, TOLERANCE[c.dtype]);
      }
    },
  });
}

for (const schedule of SCHEDULES) {
  Deno.test({
    name: `based() gives the same in chunks of 16, 32 and 64 as in a loop (${schedule})`,
    ignore,
    async fn() {
      const c = caseOf({ length: 150, heads: [2, 1, 1] });
      const inputs = inputsOf(c);
      const loop = await compute(c, inputs, { mode: "loop", schedule });
      for (const chunkSize of [16, 32, 64] as const) {
        const chunk = await compute(c, inputs, { mode: "chunk", chunkSize, schedule });
        assertAgrees(`${chunkSize}`, chunk, loop, 1e-6);
      }
    },
  });

  Deno.test({
    name: `based() in chunks gives the same bits whatever comes later, and again (${schedule})`,
    ignore,
    async fn() {
      const c = caseOf({ length: 70, heads: [4, 2, 2] });
      const options: Options = { mode: "chunk", chunkSize: 32, schedule };
      const inputs = inputsOf(c);
      const { out } = await compute(c, inputs, options);
      assertEquals((await compute(c, inputs, options)).out, out);
      for (const kept of [33, 43, 57]) {
        for (const value of [0.5, Infinity, NaN]) {
          const others = inputsOf(c);
          for (const { data } of [others.q, others.k, others.v]) {
            data.fill(value, kept * data.length / c.length);
          }
          const changed = await compute(c, others, options);
          const [seen, later] = [kept, kept + 1].map((t) => t * out.length / c.length);
          assertEquals(changed.out.subarray(0, seen), out.subarray(0, seen));
          assertNotEquals(changed.out.subarray(seen, later), out.subarray(seen, later));
        }
      }
    },
  });

  Deno.test({
    name: `based() walks no outputs in chunks: states, a carry and series (${schedule})`,
    ignore,
    fn() {
      const gpu = theGpu();
      const tensors = [5, 5, 12].map((width) => gpu.empty([1, 40, 1, width], "f32"));
      const [q, k, v] = tensors;
      const labels = new Set<string>();
      const call = (options: Options): BasedResult<"f32"> =>
        based(q, k, v, { ...options, schedule });
      const listen = (options: Options): string[] => {
        labels.clear();
        runtimeOf(gpu).recorder.listen((label) => labels.add(label), () => call(options));
        return [...labels].filter((label) => label.startsWith("recurrence"));
      };
      const handed = schedule === "workgroup" ? "workgroup" : "subgroup";

      assertEquals(listen({ mode: "chunk", chunkSize: 16 }), [
        `recurrence (chunk states, ${schedule})`,
        "recurrence (carry)",
        `recurrence (series, ${handed})`,
      ]);
      assertEquals(listen({ mode: "loop" }), [`recurrence (loop, ${schedule})`]);
    },
  });
}

for (const normalize of [true, false]) {
  Deno.test({
    name: `linearAttention() of taylor2 agrees in chunks, normalize ${normalize}`,
    ignore,
    async fn() {
      const gpu = theGpu();
      const { q, k, v } = inputsOf(caseOf({ heads: [4, 2, 2] }));
      const up = ({ data, shape }: HostTensor) => gpu.tensor(data as Float32Array, shape);
      const options = { featureMap: "taylor2", normalize, finalState: true } as const;
      const wanted = reference.linearAttention(q, k, v, options);
      const state = wanted.finalState;
      assert(state);
      for (const schedule of SCHEDULES) {
        const { out, finalState } = linearAttention(up(q), up(k), up(v), {
          ...{ ...options, mode: "chunk", chunkSize: 16, schedule },
        });
        assertClose(`out of ${schedule}`, await out.read(), wanted.out.data, { ratio: 1e-6 });
        assert(finalState);
        const [s, behind] = normalize && "z" in state
          ? [(finalState as RecurrenceState).s, state.s]
          : [finalState as RecurrenceState["s"], state as reference.Float64Tensor];
        assertClose(`state of ${schedule}`, await s.read(), behind.data, { ratio: 1e-6 });
      }
    },
  });
}
