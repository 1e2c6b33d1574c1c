import { assert, assertEquals } from "@std/assert";
import {
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceError,
  recurrenceInputs,
} from "../../cli/recurrence_case.ts";
import {
  type RecurrenceProfile,
  recurrenceWorkload,
  spotCheckRecurrence,
} from "../../cli/recurrence_workload.ts";
import { recurrence as reference } from "../../reference/mod.ts";

const BASE: RecurrenceProfile = {
  ...{ batch: 2, length: 10, heads: 4, qHeads: 4, kHeads: 2, keyDim: 8, valueDim: 12 },
  ...{ dtype: "f32", gate: "token", gates: "gentle", seed: 1 },
};

/** Operands of which an oracle can afford 7 of 9 tokens: 3e7 / (2 · 8 · 512 · 512). */
const LONG: RecurrenceProfile = {
  ...{ batch: 2, length: 9, heads: 8, qHeads: 8, kHeads: 1, keyDim: 512, valueDim: 512 },
  ...{ dtype: "f32", gate: "channel", gates: "mixed", seed: 1 },
};

/** The float64 output of a case, rounded. */
function rightOutput(c: RecurrenceProfile): Float32Array {
  const { q, k, v, g } = recurrenceInputs(c);
  return new Float32Array(reference(q, k, v, { g }).out.data);
}

Deno.test("spotCheckRecurrence() agrees with a right output", () => {
  assert(spotCheckRecurrence(BASE, recurrenceInputs(BASE), rightOutput(BASE)) < 1e-7);
});

Deno.test("spotCheckRecurrence() finds a wrong last token of a small problem", () => {
  const out = rightOutput(BASE);
  for (let i = out.length - BASE.valueDim; i < out.length; i++) out[i] += 0.01;
  assert(spotCheckRecurrence(BASE, recurrenceInputs(BASE), out) > 1e-4);
});

Deno.test("spotCheckRecurrence() looks at the first tokens of each row of a large problem", () => {
  const inputs = recurrenceInputs(LONG);
  const right = rightOutput(LONG);
  const ratioWithWrong = (token: number): number => {
    const out = right.slice();
    out.fill(0, token * 8 * 512, (token + 1) * 8 * 512);
    return spotCheckRecurrence(LONG, inputs, out);
  };

  assert(spotCheckRecurrence(LONG, inputs, right) < 1e-7);
  assert(ratioWithWrong(9 + 6) > 1e-4); // of the second row
  assert(ratioWithWrong(9 + 7) < 1e-7);
});

Deno.test("spotCheckRecurrence() leaves states whole that have as many heads as there are tokens", () => {
  const c = { ...LONG, length: 8, kHeads: 8, initial: true, final: true };
  const inputs = recurrenceInputs(c);
  const { q, k, v, g, initialState } = inputs;
  const out = new Float32Array(reference(q, k, v, { g, initialState }).out.data);

  assert(spotCheckRecurrence(c, inputs, out) < 1e-7);
});

Deno.test("recurrenceError() judges each sequence and the state on its own", () => {
  const c: RecurrenceCase = {
    ...BASE,
    ...{ batch: 1, final: true, cuSeqlens: [0, 9, 10], normalize: true, initial: true },
  };
  const inputs = recurrenceInputs(c);
  const { q, k, v, g, cuSeqlens } = inputs;
  const s = inputs["initialState.s"];
  const z = inputs["initialState.z"];
  const initialState = { s, z };
  const expected = reference(q, k, v, {
    ...{ g, cuSeqlens, initialState, normalize: true, finalState: true },
  });
  const state = expected.finalState;
  assert(state !== undefined && "z" in state);
  const right = { out: expected.out.data, "finalState.s": state.s.data };
  const zeros = state.z.data.slice();
  zeros.fill(0, 4 * 8); // the sums of the second sequence

  assertEquals(recurrenceError(c, inputs, { ...right, "finalState.z": state.z.data }), 0);
  assertEquals(recurrenceError(c, inputs, { ...right, "finalState.z": zeros }), 1);
});

Deno.test("recurrenceCaseName() names what tells a case from others", () => {
  const c = { ...BASE, initial: true, reverse: true, mode: "chunk", chunkSize: 16 } as const;
  assertEquals(
    recurrenceCaseName({ ...c, gates: "reset", cuSeqlens: [0, 3, 10] }),
    "B2 T10 H4 HQ4 HK2 K8 V12 f32 token reset initial packed 0,3,10 reverse chunk 16",
  );
  assertEquals(
    recurrenceCaseName({ ...BASE, kHeads: 4, gate: "none" }),
    "B2 T10 H4 K8 V12 f32 none",
  );
});

Deno.test("recurrenceInputs() draws the gates that a case names", () => {
  const gates = (part: Partial<RecurrenceProfile>): number[] => [
    ...recurrenceInputs({ ...BASE, ...part }).g.data,
  ];
  const resets = new Set(gates({ gates: "reset", length: 100 }).filter((g) => g < -1));

  assert(gates({}).every((g) => g <= 0 && g > -0.02));
  assertEquals(new Set(gates({ gates: "strong" })), new Set([-5]));
  assertEquals(new Set(gates({ gates: "mixed" })), new Set([0, -20]));
  assertEquals(resets, new Set([-1e4, Math.fround(-1e30), -Infinity]));
  assertEquals(recurrenceInputs({ ...BASE, gate: "head" }).g.shape, [4]);
  assertEquals(recurrenceInputs({ ...BASE, gate: "channel" }).g.shape, [2, 10, 4, 8]);
});

Deno.test("recurrenceWorkload() counts six operations per element of the state", () => {
  assertEquals(recurrenceWorkload(BASE).flops, 6 * 2 * 10 * 4 * 8 * 12);
  // each of four states is decayed and written, and read by two queries
  assertEquals(recurrenceWorkload({ ...BASE, qHeads: 8 }).flops, 20 * 8 * 12 * (4 * 4 + 2 * 8));
});

Deno.test("recurrenceWorkload() counts inputs and outputs once", () => {
  // q and k of 8 channels, v and out of 12, gates of 4 heads
  const rows = 4 * 8 + 2 * 8 + 4 * 12 + 4 * 12;
  assertEquals(recurrenceWorkload(BASE).bytes, 4 * 20 * (rows + 4));
  const half = { ...BASE, dtype: "f16", gate: "channel", initial: true } as const;
  // initial states stay f32
  const state = 4 * 2 * 4 * 8 * 12;
  assertEquals(recurrenceWorkload(half).bytes, 2 * 20 * (rows + 4 * 8) + state);
  assertEquals(
    recurrenceWorkload({ ...half, final: true }).bytes,
    recurrenceWorkload(half).bytes + state,
  );
  // a state of S and of the running sum of the keys
  const step = { ...BASE, length: 1, normalize: true, initial: true, final: true };
  assertEquals(recurrenceWorkload(step).bytes, 4 * 2 * (rows + 4) + 2 * 4 * 2 * 4 * 8 * (12 + 1));
});

Deno.test("recurrenceWorkload() compares with causal attention on the same shape", () => {
  const { operator, rivals } = recurrenceWorkload({ ...BASE, qHeads: 8 }, "gla");

  assertEquals([operator, rivals.naive().operator], ["gla", "gla"]);
  assertEquals(rivals.attention().problem, {
    ...{ batch: 2, qLen: 10, kvLen: 10, heads: 8, kvHeads: 4, headDim: 8, valueDim: 12 },
    ...{ dtype: "f32", inputs: "normal", seed: 1, causal: true, lse: false },
  });
});
