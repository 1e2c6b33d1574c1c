import { assertEquals, assertRejects } from "@std/assert";
import type { Runner } from "../../cli/check_runners.ts";
import { spread } from "../../cli/check_spread.ts";
import type { Outcome } from "../../cli/outcome.ts";

function outcome(ok: boolean): readonly Outcome[] {
  return [{ name: "", ratio: ok ? 0 : 1, tolerance: 0, ok }];
}

/** A runner whose groups take so many turns of the event loop; those of Infinity never end. */
function runner(turns: readonly number[], failing: readonly number[], ran: number[]): Runner {
  return {
    run: async (index) => {
      ran.push(index);
      if (turns[index] === Infinity) return await new Promise(() => {});
      for (let turn = 0; turn < turns[index]; turn++) await new Promise((go) => setTimeout(go));
      return outcome(!failing.includes(index));
    },
  };
}

/** Spreads groups over so many runners; returns what was run and what was reported, in order. */
async function spreadOver(
  count: number,
  turns: readonly number[],
  { failing = [], bail = false }: { failing?: readonly number[]; bail?: boolean } = {},
) {
  const ran: number[] = [];
  const reported: (readonly [number, boolean])[] = [];
  const runners = Array.from({ length: count }, () => runner(turns, failing, ran));
  await spread(turns.length, runners, {
    bail,
    report: (index, [{ ok }]) => reported.push([index, ok]),
  });
  return { ran, reported };
}

Deno.test("spread() reports in order, whichever runner is done first", async () => {
  const reported = [0, 1, 2, 3, 4].map((index) => [index, index !== 2] as const);

  for (const count of [1, 2, 3, 9]) {
    const result = await spreadOver(count, [9, 1, 4, 1, 1], { failing: [2] });
    assertEquals(result, { ran: [0, 1, 2, 3, 4], reported });
  }
  assertEquals(await spreadOver(2, []), { ran: [], reported: [] });
});

Deno.test("spread() keeps runners busy", async () => {
  const order: number[] = [];
  const slow: Runner = { run: () => new Promise(() => {}) };
  const quick: Runner = {
    run: (index) => {
      order.push(index);
      return index === 4
        ? Promise.reject(new Error("Cannot go on"))
        : Promise.resolve(outcome(true));
    },
  };

  const work = spread(9, [slow, quick], { bail: false, report: () => {} });
  await assertRejects(() => work, Error, "Cannot go on");
  assertEquals(order, [1, 2, 3, 4]);
});

Deno.test("spread() ends with the first failing group when it may bail", async () => {
  const options = { failing: [1, 3], bail: true };
  const reported: [number, boolean][] = [[0, true], [1, false]];

  assertEquals(await spreadOver(1, [1, 1, 1, 1], options), { ran: [0, 1], reported });
  const { ran, ...rest } = await spreadOver(2, [1, 9, 1, 1, 1, 1], options);
  assertEquals(rest, { reported });
  assertEquals(ran, [0, 1, 2, 3]);
});

Deno.test("spread() does not wait for groups behind the end", async () => {
  const options = { failing: [0], bail: true };

  const { reported } = await spreadOver(2, [1, Infinity], options);
  assertEquals(reported, [[0, false]]);
});
