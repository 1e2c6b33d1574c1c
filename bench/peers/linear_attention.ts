// gatedDeltaRule beside LinearAttention of onnxruntime-web, update rule "gated_delta", on one adapter:
// `npm install --prefix bench/peers/npm` once, then `deno task peers`. Inputs and outputs stay on the
// device; a time is wall time from the first of several calls until all are done, by their number.
import { compareHeads } from "../../cli/compare.ts";
import { figure, print, table } from "../../cli/output.ts";
import {
  RECURRENCE_TOLERANCE,
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceInputs,
} from "../../cli/recurrence_case.ts";
import { gatedDeltaRule, requestGpu, type Tensor } from "../../mod.ts";
import { gatedDeltaRule as reference } from "../../reference/mod.ts";
import { openSession, type OrtInput, type OrtSession } from "./onnxruntime.ts";

/** A problem on the device. */
interface Contestant {
  /** Records one call and returns what frees its output. */
  call(): Promise<() => void>;
  /** Waits for all that was recorded. */
  done(): Promise<void>;
  /** Computes the output. */
  out(): Promise<ArrayLike<number>>;
}

const LENGTHS = [512, 1024, 4096];
const TURNS = 7;
/** About how long a turn takes: the wait at its end, of some milliseconds, is to weigh little. */
const TURN_MS = 500;

const sizes = { batch: 1, heads: 4, qHeads: 4, kHeads: 4, keyDim: 64, valueDim: 64 };
const common = {
  ...{ ...sizes, dtype: "f32", gate: "token", gates: "gentle", delta: true, seed: 1 } as const,
};
const { heads, keyDim, valueDim } = sizes;

const operator = {
  name: "LinearAttention",
  inputs: ["query", "key", "value", "", "decay", "beta"], // no past_state
  attributes: [
    ["update_rule", "text", "gated_delta"],
    ["q_num_heads", "int", heads],
    ["kv_num_heads", "int", heads],
    ["scale", "float", keyDim ** -0.5],
  ],
} as const;

using gpu = await requestGpu();
const plain = await openSession(operator, { subgroups: false });
const sessions = {
  "onnxruntime-web": plain,
  ...(gpu.features.subgroups && {
    "the same, given subgroups": await openSession(operator, { subgroups: true }),
  }),
};

print(`${gpu.adapter.description}, Deno ${Deno.version.deno}, onnxruntime-web ${plain.version}`);
const rows = [["problem", "library", "median ms", "min", "error", "times tessera"]];
for (const length of LENGTHS) rows.push(...await compareAt({ ...common, length }));
print(table(rows));

/** Checks and times a problem: a row for each library. */
async function compareAt(c: RecurrenceCase): Promise<string[][]> {
  const inputs = recurrenceInputs(c) as Readonly<Record<string, OrtInput>>;
  const { q, k, v, g, beta } = inputs;
  const expected = reference(q, k, v, g, beta).out;
  const peers = Object.entries(sessions).map(([name, session]) => [name, peerOf(session, inputs)]);
  const contestants: Readonly<Record<string, Contestant>> = {
    ...{ tessera: ownOf(inputs), ...Object.fromEntries(peers) },
  };
  const errors: Record<string, number> = {};
  for (const [name, contestant] of Object.entries(contestants)) {
    errors[name] = compareHeads(await contestant.out(), expected.data, heads, valueDim).ratio;
  }
  const right = Object.entries(contestants).filter(([name]) => isRight(errors[name]));
  const times = await timeInTurns(Object.fromEntries(right));
  return Object.keys(contestants).map((name) => [
    ...[recurrenceCaseName(c), name],
    ...(isRight(errors[name])
      ? [figure(median(times[name])), figure(Math.min(...times[name]))]
      : ["wrong", ""]),
    figure(errors[name]),
    times.tessera && times[name] ? `${figure(median(times[name]) / median(times.tessera))}x` : "",
  ]);
}

function isRight(error: number): boolean {
  return error <= RECURRENCE_TOLERANCE.f32;
}

function ownOf(inputs: Readonly<Record<string, OrtInput>>): Contestant {
  const [q, k, v, g, beta] = ["q", "k", "v", "g", "beta"].map((name): Tensor<"f32"> =>
    gpu.tensor(inputs[name].data, inputs[name].shape)
  );
  const compute = () => gatedDeltaRule(q, k, v, g, beta).out;
  return {
    call() {
      const out = compute();
      return Promise.resolve(() => out.dispose());
    },
    done: () => gpu.submit(),
    async out() {
      using out = compute();
      return await out.read();
    },
  };
}

function peerOf(session: OrtSession, inputs: Readonly<Record<string, OrtInput>>): Contestant {
  const { q, k, v, g, beta } = inputs;
  // heads side by side
  const packed = ({ data, shape: [batch, length] }: OrtInput): OrtInput => ({
    data,
    shape: [batch, length, data.length / (batch * length)],
  });
  const { run, done } = session.load({
    ...{ query: packed(q), key: packed(k), value: packed(v) },
    ...{ decay: packed(g), beta: packed(beta) },
  });
  return {
    async call() {
      const output = await run();
      return () => output.dispose();
    },
    done,
    async out() {
      const output = await run();
      const data = await output.getData();
      output.dispose();
      return data;
    },
  };
}

/** Milliseconds of a call, several of each contestant, in turn. */
async function timeInTurns(
  contestants: Readonly<Record<string, Contestant>>,
): Promise<Record<string, number[]>> {
  const calls: Record<string, number> = {};
  const times: Record<string, number[]> = {};
  for (const [name, contestant] of Object.entries(contestants)) {
    calls[name] = Math.ceil(TURN_MS / await timeCalls(contestant, 2));
    times[name] = [];
  }
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [name, contestant] of Object.entries(contestants)) {
      times[name].push(await timeCalls(contestant, calls[name]));
    }
  }
  return times;
}

async function timeCalls(contestant: Contestant, calls: number): Promise<number> {
  const started = performance.now();
  const frees: (() => void)[] = [];
  for (let call = 0; call < calls; call++) frees.push(await contestant.call());
  await contestant.done();
  const elapsed = performance.now() - started;
  for (const free of frees) free();
  return elapsed / calls;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
