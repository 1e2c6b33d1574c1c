import { assert, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  deltaProduct,
  gla,
  type Gpu,
  linearAttention,
  type RecurrenceState,
  requestGpu,
  type SequenceOptions,
  simpleGla,
  Tensor,
} from "../../mod.ts";
import { adapter } from "../adapter.ts";
import { defaultsOf } from "../../ops/defaults.ts";
import { roundsOf, tableOf } from "../../ops/segments.ts";

Deno.test("roundsOf() says how many tokens before a piece are not copied with its round", () => {
  const cut = { longest: 64, chunkSize: null };
  const words = (reverse: boolean) =>
    roundsOf([0, 100, 100, 300], { ...cut, reverse }).map(({ pieces }) => [...tableOf(pieces)]);

  assertEquals(words(false), [
    [0, 64, 0, 0, ...[100, 100, 1, 36], ...[100, 164, 2, 36]],
    [64, 100, 0, 64, ...[164, 228, 2, 128]],
    [228, 292, 2, 228],
    [292, 300, 2, 292],
  ]);
  assertEquals(words(true)[0], [36, 100, 0, 36, ...[100, 100, 1, 36], ...[236, 300, 2, 172]]);
  // chunks lie in the pieces that are copied
  const [, { chunks }] = roundsOf([0, 100], { ...cut, chunkSize: 16, reverse: false });
  assertEquals(chunks?.map(({ skipped }) => skipped), [64, 64, 64]);
});

const [HEADS, DIM, LENGTHS] = [8, 64, [904, 0, 500]];

type Given = Readonly<Record<"q" | "k" | "v" | "g" | "gk" | "beta" | "k2" | "v2", Tensor<"f32">>>;
type Options = Pick<SequenceOptions, "cuSeqlens" | "finalState" | "reverse"> & {
  initialState?: State;
};
/** What some of the operators take, and others. */
type State = Tensor<"f32"> & RecurrenceState;
type Result = { out: Tensor; finalState?: Tensor<"f32"> | RecurrenceState };

/** Rows of tokens that operators read, and the operators. */
const CASES: Readonly<Record<string, [(keyof Given)[], (x: Given, options: Options) => Result]>> = {
  simpleGla: [
    ["q", "k", "v"],
    ({ q, k, v, g }, options) => simpleGla(q, k, v, g, { ...options, ...LOOP }),
  ],
  "simpleGla in blocks": [
    ["q", "k", "v"],
    ({ q, k, v, g }, options) => simpleGla(q, k, v, g, { ...options, ...LOOP, schedule: "blocks" }),
  ],
  gla: [
    ["q", "k", "v", "gk"],
    ({ q, k, v, gk }, options) => gla(q, k, v, gk, { ...options, ...LOOP }),
  ],
  "linearAttention, normalised": [
    ["q", "k", "v"],
    ({ q, k, v }, options) => linearAttention(q, k, v, { ...options, ...LOOP, featureMap: "elu1" }),
  ],
  deltaProduct: [
    ["q", "k2", "v2"],
    ({ q, k2, v2, g, beta }, options) =>
      deltaProduct(q, k2, v2, g, beta, { ...options, ...LOOP, householders: 2 }),
  ],
};
const LOOP = { mode: "loop" } as const;

/** Rows of tokens from one on, `[1, tokens, …]`. */
function rowsOf(gpu: Gpu, x: Tensor<"f32">, data: Float32Array, [first, end]: readonly number[]) {
  const [, tokens, ...axes] = x.shape;
  const row = x.size / tokens;
  return gpu.tensor(data.slice(first * row, end * row), [1, end - first, ...axes]);
}

async function bits(...tensors: Tensor[]): Promise<Uint32Array[]> {
  const read = await Promise.all(tensors.map((tensor) => tensor.read()));
  return read.map((data) => new Uint32Array(data.buffer));
}

/** Whether an array begins with these words. */
function assertSame(words: Uint32Array, all: Uint32Array): void {
  const at = words.findIndex((word, i) => word !== all[i]);
  assert(words.length > 0 && at < 0, `word ${at} of ${words.length} differs`);
}

for (const [name, [rows, call]] of Object.entries(CASES)) {
  for (const reverse of [false, true]) {
    Deno.test({
      name: `${name} copied piece by piece has the bits of shorter calls${
        reverse ? " (back)" : ""
      }`,
      ignore: adapter === null,
      async fn() {
        using gpu = await requestGpu({ poison: true });
        if (name.endsWith("blocks") && gpu.features.subgroups === null) return;
        const random = new Random(1);
        const total = LENGTHS.reduce((a, b) => a + b);
        const shapes = { q: 1, k: 1, v: 1, k2: 2, v2: 2 };
        const host = new Map<string, Float32Array>();
        const made = (name: string, make: () => number, ...shape: number[]) => {
          const size = shape.reduce((a, b) => a * b);
          const data = Float32Array.from({ length: size }, make);
          host.set(name, data);
          return [name, gpu.tensor(data, shape)] as const;
        };
        const decay = () => -Math.abs(random.normal()) / 8;
        const given = Object.fromEntries([
          ...Object.entries(shapes).map(([name, writes]) =>
            made(name, () => random.normal() / 4, 1, writes * total, HEADS, DIM)
          ),
          made("g", decay, 1, total, HEADS),
          made("gk", decay, 1, total, HEADS, DIM),
          made("beta", () => random.next(), 1, 2 * total, HEADS),
        ]) as Given;
        const bounds = [0, LENGTHS[0], LENGTHS[0] + LENGTHS[1], total];
        const cuSeqlens = gpu.tensor(Int32Array.from(bounds), [4]);

        const before = gpu.memory().bytes;
        const { out, finalState } = call(given, { cuSeqlens, reverse, finalState: true });
        const whole = await bits(out, ...tensorsOf(finalState));
        const kept = gpu.memory().bytes - before;
        const scratch = gpu.memory().peakBytes - before - kept;

        const first = sequence(0, 128);
        const second = sequence(128, LENGTHS[0]);
        const [early, late] = reverse ? [second, first] : [first, second];
        const start = call(early, { reverse, finalState: true });
        assert(start.finalState !== undefined);
        const end = call(late, {
          reverse,
          finalState: true,
          initialState: start.finalState as State,
        });
        const [one, two] = await bits(...(reverse ? [end.out, start.out] : [start.out, end.out]));

        assertSame(one, whole[0]);
        assertSame(two, whole[0].subarray(one.length));
        const states = await bits(...tensorsOf(end.finalState));
        states.forEach((state, i) => assertSame(state, whole[1 + i]));
        if (defaultsOf(gpu.adapter).source === "texture") {
          const all = rows.reduce((sum, name) => sum + 4 * given[name].size, 0);
          assert(scratch < 0.8 * all, `${scratch} bytes of scratch beside ${all}`);
        }

        function sequence(first: number, end: number): Given {
          return Object.fromEntries(
            Object.entries(given).map(([name, x]) => {
              const writes = x.shape[1] / total;
              const data = host.get(name) ?? new Float32Array();
              return [name, rowsOf(gpu, x, data, [writes * first, writes * end])];
            }),
          ) as Given;
        }
      },
    });
  }
}

function tensorsOf(state: Result["finalState"]): Tensor[] {
  if (state === undefined) return [];
  return state instanceof Tensor ? [state] : [state.s, state.z];
}
