import { assertEquals, assertThrows } from "@std/assert";
import { requestGpu } from "../mod.ts";
import {
  assertOutputs,
  assertSameBits,
  type Case,
  caseOf,
  compute,
  computeSteps,
  expectedOf,
  ignore,
  inputsOf,
  type RuleName,
  theGpu,
  tokensOf,
} from "./fast_weights.ts";

/** Tests that a case agrees with float64. */
export function testCase(rule: RuleName, name: string, part: Partial<Case>): void {
  Deno.test({
    name: `${rule}() matches the reference for ${name}`,
    ignore,
    async fn() {
      const c = caseOf(rule, part);
      const inputs = inputsOf(c);

      const actual = await compute(c, inputs);

      assertOutputs(actual, expectedOf(c, inputs), c.dtype === "f16" ? 2e-3 : 1e-4);
    },
  });
}

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
export function testRefusal(
  when: string,
  call: () => unknown,
  [kind, message]: readonly [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `${message.includes("TTT") ? "tttLinear" : "titansMemory"}() throws when ${when}`,
    ignore,
    fn() {
      theGpu().scope(() => {
        const error = assertThrows(() => call(), kind);

        assertEquals(error.message, message);
        assertEquals(error.constructor, kind);
      });
      assertEquals(theGpu().memory().tensors, 0);
    },
  });
}

/** What both rules keep to the bit, whatever else a sequence or a batch has. */
export function testInvariants(rule: RuleName): void {
  for (const schedule of ["workgroup", "naive"]) {
    for (const miniBatch of [1, 5, 20]) {
      const options = { schedule, miniBatch };
      const how = `(${schedule}, mini-batches of ${miniBatch})`;
      Deno.test({
        name: `${rule}() gives the same bits whatever comes later ${how}`,
        ignore,
        async fn() {
          const c = caseOf(rule, { options });
          const inputs = inputsOf(c);
          const changed = Object.fromEntries(
            Object.entries(inputs).map(([name, { data, shape }]) => {
              const copy = data.slice();
              if (shape[1] === c.length) copy.fill(0.5, 27 * data.length / c.length);
              return [name, { data: copy, shape }];
            }),
          );

          const actual = await compute(c, changed);

          const { out } = await compute(c, inputs);
          const kept = 27 * c.heads * c.valueDim;
          assertSameBits(Array.from(actual.out).slice(0, kept), Array.from(out).slice(0, kept));
        },
      });

      Deno.test({
        name: `${rule}() gives a sequence the same bits packed and alone ${how}`,
        ignore,
        async fn() {
          const c = caseOf(rule, { options, batch: 2, initial: false });
          const inputs = inputsOf(c);
          const packed = Object.fromEntries(
            Object.entries(inputs).map(([name, { data, shape }]) => [
              name,
              { data, shape: shape[1] === 40 ? [1, 80, ...shape.slice(2)] : shape },
            ]),
          );
          const cuSeqlens = [0, 0, 40, 80];

          const actual = await compute({ ...c, batch: 1, length: 80, cuSeqlens }, packed);

          assertSameBits(actual.out, (await compute(c, inputs)).out);
        },
      });

      Deno.test({
        name: `${rule}() goes on where a mini-batch ended as if it had not stopped ${how}`,
        ignore,
        async fn() {
          const c = caseOf(rule, { options });
          const inputs = inputsOf(c);
          const part = (first: number, end: number) =>
            Object.fromEntries(
              Object.entries(inputs).map(([name, host]) => [name, tokensOf(c, host, first, end)]),
            );
          const start = await compute({ ...c, length: 20 }, part(0, 20));
          const found = Object.entries(inputs).filter(([name]) => name.startsWith("initialState"))
            .map(([name, { shape }]) => {
              const data = Float32Array.from(start[name.replace("initial", "final")]);
              return [name, { data, shape }];
            });

          const rest = await compute({ ...c, length: 20 }, {
            ...part(20, 40),
            ...Object.fromEntries(found),
          });

          const { out, ...states } = await compute(c, inputs);
          assertSameBits([...Array.from(start.out), ...Array.from(rest.out)], out);
          for (const [name, data] of Object.entries(states)) assertSameBits(rest[name], data);
        },
      });
    }

    Deno.test({
      name:
        `${rule}() keeps to its reference where loops, bindings and grids are short (${schedule})`,
      ignore,
      async fn() {
        const limits = {
          maxLoopIterations: schedule === "naive" ? 3_000 : 1_500,
          maxStorageBufferBindingSize: 65_536,
          maxComputeWorkgroupsPerDimension: 2,
        };
        using small = await requestGpu({ poison: true, limits });
        const parts = [
          { length: 300, options: { schedule, miniBatch: 7 } },
          { length: 300, options: { schedule, miniBatch: 250 }, initial: false },
          { cuSeqlens: [0, 0, 1, 30, 100, 100], length: 100, options: { schedule, miniBatch: 64 } },
        ];
        for (const part of parts) {
          const c = caseOf(rule, part);
          const inputs = inputsOf(c);

          const actual = await compute(c, inputs, small);

          assertOutputs(actual, expectedOf(c, inputs));
        }
      },
    });
  }

  Deno.test({
    name: `${rule}Step() gives what mini-batches of one token give, in place`,
    ignore,
    async fn() {
      const c = caseOf(rule, { length: 6, options: {} });
      const inputs = inputsOf(c);

      const actual = await computeSteps(c, inputs);

      const expected = await compute({ ...c, options: { miniBatch: 1 } }, inputs);
      for (const [name, data] of Object.entries(expected)) assertSameBits(actual[name], data);
    },
  });
}
