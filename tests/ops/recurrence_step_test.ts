import { assert, assertEquals } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { recurrence, type RecurrenceOptions, requestGpu, type Tensor } from "../../mod.ts";
import { recurrenceProblem } from "../../ops/recurrence/problem.ts";
import { recurrenceScheduleName, recurrenceSchedules } from "../../ops/recurrence/schedule.ts";
import { recurrence as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** A problem of one sequence of one token of K 16 and V 32, and its state, by default. */
interface Case {
  readonly dtype?: "f32" | "f16";
  /** HQ, HK and HV. */
  readonly heads?: readonly [number, number, number];
  readonly keyDim?: number;
  readonly valueDim?: number;
  readonly bounds?: readonly number[];
  /** Tensors of the options that are there. */
  readonly given?: readonly ("g" | "gk" | "gv" | "u" | "beta" | "p" | "a" | "b")[];
  readonly normalize?: boolean;
  readonly stateLayout?: "kv" | "vk";
  readonly initial?: boolean;
  readonly final?: boolean;
}

const ragged = { heads: [2, 1, 2], bounds: [0, 1, 1, 2, 3] } as const;
const CASES: readonly Case[] = [
  {},
  { initial: false },
  { final: false },
  { given: ["g"], dtype: "f16" },
  { given: ["gk"], ...ragged },
  { given: ["gk", "gv"], keyDim: 13, valueDim: 20 },
  { given: ["gk", "u"], normalize: true, heads: [6, 1, 2], bounds: [0, 0, 1, 1] },
  { given: ["g", "u"], normalize: true, keyDim: 7, valueDim: 5, ...ragged },
  { normalize: true, heads: [4, 2, 2], keyDim: 130, valueDim: 64 },
  { normalize: true, initial: false, ...ragged },
  { given: ["g"], normalize: true, final: false },
  { given: ["g"], stateLayout: "vk", ...ragged },
  { given: ["beta"], ...ragged },
  { given: ["beta", "gk"], keyDim: 20, valueDim: 72 },
  { given: ["beta", "g", "p"], valueDim: 36, stateLayout: "vk" },
  { given: ["beta", "gk", "p"], heads: [3, 1, 1], dtype: "f16" },
  { given: ["a", "b"], ...ragged, valueDim: 12 },
  { given: ["a", "b", "gk"], keyDim: 24, valueDim: 40, initial: false },
  { given: ["a", "b", "g"], keyDim: 9, final: false },
];

/** The inputs of a case on the host, by the names of the arguments and options. */
function inputsOf(c: Case) {
  const { dtype = "f32", heads: [qHeads, kHeads, heads] = [1, 1, 1], given = [] } = c;
  const { keyDim = 16, valueDim = 32, bounds = [0, 1], stateLayout = "kv", initial = true } = c;
  const random = new Random(7);
  const tokens = [1, bounds.at(-1) ?? 0];
  const gate = () => -Math.abs(random.normal());
  const drawn = c.normalize ? () => 0.1 + Math.abs(random.normal()) : () => random.normal();
  const small = () => drawn() / Math.sqrt(keyDim);
  const optional = {
    g: () => hostTensor("f32", [...tokens, heads], gate),
    gk: () => hostTensor("f32", [...tokens, heads, keyDim], gate),
    gv: () => hostTensor("f32", [...tokens, heads, valueDim], gate),
    u: () => hostTensor("f32", [kHeads, keyDim], drawn),
    beta: () => hostTensor("f32", [...tokens, heads], () => random.next()),
    p: () => hostTensor(dtype, [...tokens, kHeads, keyDim], small),
    a: () => hostTensor(dtype, [...tokens, kHeads, keyDim], small),
    b: () => hostTensor(dtype, [...tokens, kHeads, keyDim], small),
  };
  const axes = stateLayout === "kv" ? [keyDim, valueDim] : [valueDim, keyDim];
  const rows = [bounds.length - 1, heads];
  const s = hostTensor("f32", [...rows, ...axes], () => random.normal());
  const z = hostTensor("f32", [...rows, keyDim], drawn);
  return {
    q: hostTensor(dtype, [...tokens, qHeads, keyDim], drawn),
    k: hostTensor(dtype, [...tokens, kHeads, keyDim], small),
    v: hostTensor(dtype, [...tokens, heads, valueDim], () => random.normal()),
    tensors: Object.fromEntries(
      given.map((name) => [name === "gk" ? "g" : name, optional[name]()]),
    ),
    ...(initial && { initialState: c.normalize ? { s, z } : s }),
  };
}

/** Options of a case that are no tensors. */
function plainOptions({ normalize = false, stateLayout = "kv", final = true }: Case) {
  return { normalize, stateLayout, finalState: final };
}

/** The numbers of the output and of the state behind it. */
function expectedOf(c: Case): ArrayLike<number>[] {
  const { q, k, v, tensors, initialState } = inputsOf(c);
  const { bounds = [0, 1] } = c;
  const { out, finalState } = reference(q, k, v, {
    ...plainOptions(c),
    ...tensors,
    cuSeqlens: { data: bounds, shape: [bounds.length] },
    ...(initialState && { initialState }),
  });
  const states = finalState && ("s" in finalState ? [finalState.s, finalState.z] : [finalState]);
  return [out, ...(states ?? [])].map(({ data }) => data);
}

/** Computes a case by every schedule of a step, by their names. */
async function computedOf(c: Case): Promise<Record<string, ArrayLike<number>[]>> {
  assert(shared !== null);
  const gpu = shared;
  const { q, k, v, tensors, initialState } = inputsOf(c);
  const { bounds = [0, 1] } = c;
  const load = (host: object): Tensor<"f32"> => {
    const { data, shape } = host as ReturnType<typeof hostTensor>;
    return gpu.tensor(data, shape) as Tensor<"f32">;
  };
  const loaded = Object.entries(tensors).map(([name, host]) => [name, load(host)]);
  const options: RecurrenceOptions = {
    ...plainOptions(c),
    ...Object.fromEntries(loaded),
    cuSeqlens: gpu.tensor(Int32Array.from(bounds), [bounds.length]),
    ...(initialState && {
      initialState: "s" in initialState
        ? { s: load(initialState.s), z: load(initialState.z) }
        : load(initialState),
    }),
  };
  const inputs = [load(q), load(k), load(v)] as const;
  const { problem } = recurrenceProblem(...inputs, options);
  const names = recurrenceSchedules(problem, gpu).map(recurrenceScheduleName)
    .filter((name) => name.startsWith("step"));
  const results: Record<string, ArrayLike<number>[]> = {};
  for (const schedule of names) {
    const { out, finalState } = recurrence(...inputs, { ...options, schedule });
    const states = finalState && ("s" in finalState ? [finalState.s, finalState.z] : [finalState]);
    results[schedule] = await Promise.all([out, ...(states ?? [])].map((tensor) => tensor.read()));
  }
  return results;
}

for (const c of CASES) {
  Deno.test({
    name: `recurrence() steps as the reference by every exchange: ${JSON.stringify(c)}`,
    ignore,
    async fn() {
      const expected = expectedOf(c);
      const ratio = c.dtype === "f16" ? 2e-3 : 1e-5;

      const computed = await computedOf(c);

      assert("step-workgroup-buffer" in computed);
      for (const [schedule, results] of Object.entries(computed)) {
        assertEquals(results.length, expected.length);
        results.forEach((actual, i) =>
          assertClose(`${schedule} ${i}`, actual, expected[i], { ratio })
        );
      }
    },
  });
}
