import { assert, assertEquals } from "@std/assert";
import { FAMILIES } from "../../cli/families.ts";
import {
  checkFamily,
  type FamilyCase,
  familyCaseName,
  familyError,
  familyInputs,
  familyReference,
} from "../../cli/family_case.ts";
import { familyGroups } from "../../cli/family_cases.ts";
import { RECURRENCE_TOLERANCE } from "../../cli/recurrence_case.ts";
import { requestGpu } from "../../gpu/request.ts";
import * as library from "../../ops/recurrence/mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

const BASE: FamilyCase = {
  ...{ family: "gla", batch: 2, length: 10, heads: 4, qHeads: 2, kHeads: 2, keyDim: 8 },
  ...{ valueDim: 12, dtype: "f32", seed: 1, initial: true },
};

/** The float64 outputs of a case, with 1 added to those of an output in a range. */
function spoilt(
  c: FamilyCase,
  output: string,
  [first, end]: readonly [number, number],
): Record<string, Float64Array> {
  const outputs = Object.entries(familyReference(c, familyInputs(c))).map(([name, { data }]) => [
    name,
    name === output ? data.map((x, i) => first <= i && i < end ? x + 1 : x) : data,
  ]);
  return Object.fromEntries(outputs);
}

/** The error ratio that {@linkcode familyError} finds in outputs of a case. */
function errorIn(c: FamilyCase, outputs: Readonly<Record<string, Float64Array>>): number {
  return familyError(c, familyReference(c, familyInputs(c)), outputs);
}

Deno.test("FAMILIES has a row for each recurrence of the library that has a step", () => {
  const stepped = Object.keys(library).filter((name) => `${name}Step` in library);

  assertEquals(Object.keys(FAMILIES).sort(), stepped.sort());
});

for (const [quick, least] of [[false, 64], [true, 24]] as const) {
  Deno.test(`familyGroups() has ${least} problems or more ${quick ? "for --quick" : "in all"}, of each family`, () => {
    const groups = familyGroups({ quick, dtype: undefined, cases: 24, seed: 1 });
    const filled = groups.filter(({ items }) => items.length > 0);

    assertEquals(new Set(filled.map(({ operator }) => operator)), new Set(Object.keys(FAMILIES)));
    assert(groups.reduce((sum, { items }) => sum + items.length, 0) >= least);
  });
}

Deno.test("familyGroups() gives each problem of a group its own name", () => {
  for (const { items } of familyGroups({ quick: false, dtype: undefined, cases: 24, seed: 1 })) {
    assertEquals(new Set(items.map(({ name }) => name)).size, items.length);
  }
});

Deno.test("familyGroups() keeps to a dtype", () => {
  const groups = familyGroups({ quick: false, dtype: "f16", cases: 24, seed: 1 });

  assert(groups.every(({ items }) => items.every(({ name }) => name.includes(" f16 "))));
});

for (const family of Object.keys(FAMILIES)) {
  const c: FamilyCase = { ...BASE, family };

  Deno.test(`familyError() is 0 for the reference of ${family} computed again`, () => {
    assertEquals(errorIn(c, spoilt(c, "none", [0, 0])), 0);
  });

  Deno.test(`familyError() finds a wrong element of each output of ${family}`, () => {
    for (const output of Object.keys(familyReference(c, familyInputs(c)))) {
      assert(errorIn(c, spoilt(c, output, [7, 8])) > RECURRENCE_TOLERANCE.f32);
    }
  });
}

Deno.test("familyError() judges each sequence on its own", () => {
  const packed: FamilyCase = { ...BASE, batch: 1, cuSeqlens: [0, 0, 9, 10] };
  const last = [9 * 4 * 12, 10 * 4 * 12] as const;

  assert(
    errorIn(packed, spoilt(packed, "out", last)) > 2 * errorIn(BASE, spoilt(BASE, "out", last)),
  );
});

Deno.test("familyError() judges each step on its own", () => {
  const last = [9 * 4 * 12, 10 * 4 * 12] as const;
  const [whole, stepped] = [0, 3].map((steps) =>
    errorIn({ ...BASE, steps }, spoilt(BASE, "out", last))
  );

  assert(stepped > 2 * whole);
});

Deno.test("familyError() fails where an output is missing a token", () => {
  const outputs = spoilt(BASE, "out", [7, 8]);
  outputs.out[3] = NaN;

  assertEquals(errorIn(BASE, outputs), Infinity);
});

Deno.test("familyInputs() gives tensors the axes and the dtypes of their rows", () => {
  const { q, gv, initialState, cuSeqlens } = familyInputs({
    ...{ ...BASE, batch: 1, dtype: "f16", cuSeqlens: [0, 3, 3, 10], tensors: { gv: {} } },
  });

  assertEquals([q, gv, initialState, cuSeqlens].map(({ shape }) => shape), [
    ...[[1, 10, 2, 8], [1, 10, 4, 12], [3, 4, 8, 12], [4]],
  ]);
  assert(q.data instanceof Float16Array && initialState.data instanceof Float32Array);
});

Deno.test("familyCaseName() names what tells a case from others", () => {
  assertEquals(
    familyCaseName({
      ...{ ...BASE, batch: 1, cuSeqlens: [0, 3, 10], options: { scale: 0.5 } },
      ...{ tensors: { gv: { draw: "reset" } }, sequence: { mode: "loop", reverse: true } },
    }),
    "B1 T10 H4 HQ2 HK2 K8 V12 f32 initial packed 0,3,10 gv reset scale 0.5 mode loop reverse",
  );
  assertEquals(
    familyCaseName({ ...BASE, qHeads: 4, kHeads: 4, initial: false, steps: 3 }),
    "B2 T10 H4 K8 V12 f32 steps 3",
  );
});

Deno.test({
  name: "checkFamily() accepts steps of the library, and frees what it made",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });

    assert(await checkFamily(gpu, { ...BASE, steps: 3 }) <= RECURRENCE_TOLERANCE.f32);
    assertEquals(gpu.memory().tensors, 0);
  },
});
