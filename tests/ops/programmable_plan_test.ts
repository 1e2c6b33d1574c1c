import { assert, assertEquals, assertThrows } from "@std/assert";
import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import type { CacheKeys, KeyLayout, PackedKeys } from "../../ops/attention/key_layout.ts";
import { attentionPrograms } from "../../ops/attention/launch.ts";
import { type AttentionPlan, planAttention } from "../../ops/attention/plan.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import { attentionSchedules, scheduleName } from "../../ops/attention/schedule.ts";
import { keysOfTile, queriesOfTile, type Slice, sourceOf } from "../../ops/attention/tokens.ts";
import { Random } from "../../cli/random.ts";
import { planDevice } from "./plan_device.ts";

const LLVMPIPE = planDevice("llvmpipe");
/** llvmpipe with bindings of 64 KiB. */
const SMALL = planDevice("llvmpipe", {
  maxStorageBufferBindingSize: 2 ** 16,
  minStorageBufferOffsetAlignment: 32,
});

/** Attention over keys that are laid out, B1 H4/2 D8 f32, with changes. */
function problem(keys: KeyLayout, changes: Partial<AttentionProblem> = {}): AttentionProblem {
  return {
    ...{ batch: 1, qLen: 64, kvLen: 64, heads: 4, kvHeads: 2, headDim: 8, valueDim: 8 },
    ...{ elem: "f32", scale: 1, band: null, additional: null, softcap: null, bias: null },
    ...{ sinks: null, gates: null, weight: WEIGHTS.softmax, hooks: NO_HOOKS, lse: false },
    ...{ copyable: false, schedule: null },
    ...changes,
    keys,
  };
}

const KINDS = ["subgroup", "workgroup", "split"];
const allLaunches = (plan: AttentionPlan): Slice[] =>
  plan.rounds.flatMap(({ launches }) => [...launches]);

/** Rows of a kv head that a workgroup of a launch computes, and how many rows a query has. */
function groupOf({ schedule }: AttentionPlan, { heads, kvHeads }: AttentionProblem): number {
  return schedule.kind === "split" ? heads / kvHeads : 1;
}

/** Lengths of sequences that end at a sum, some of them 0. */
function boundsTo(total: number, count: number, random: Random): number[] {
  const inner = Array.from({ length: count - 1 }, () => random.integer(0, total));
  return [0, ...inner.sort((a, b) => a - b), total];
}

/** How often each row of a query is computed by the tasks of a packed plan, as the kernel reads them. */
function rowsSeen(plan: AttentionPlan, given: AttentionProblem, keys: PackedKeys): Uint8Array {
  const group = groupOf(plan, given);
  const tile = queriesOfTile(plan.schedule);
  const seen = new Uint8Array(given.qLen * group * plan.tokens.parts * given.kvHeads);
  const { sequences, tasks } = plan.tokens.tables ?? {};
  assert(sequences !== undefined && tasks !== undefined);
  assertEquals(sequences.length, 4 * (keys.q.length - 1));
  for (const { queries, kvHeads, parts } of allLaunches(plan)) {
    const { task0, t0, t1 } = plan.tokens.params({
      ...{ batch: [0, 1], queries, kvHeads, parts },
    });
    for (let task = task0; task < task0 + plan.tokens.queryTiles(queries); task++) {
      const [sequence, at] = tasks.subarray(2 * task, 2 * task + 2);
      const [first, end] = sequences.subarray(4 * sequence, 4 * sequence + 2);
      const from = first * group + at * tile;
      const to = Math.min(from + tile, Math.min(end, t1) * group);
      for (let row = Math.max(from, t0 * group); row < to; row++) {
        for (let h = kvHeads[0]; h < kvHeads[1]; h++) {
          for (let p = parts[0]; p < parts[1]; p++) {
            seen[(row * given.kvHeads + h) * plan.tokens.parts + p]++;
          }
        }
      }
    }
  }
  return seen;
}

Deno.test("planAttention() computes each query of packed sequences exactly once", () => {
  const random = new Random(1);
  let cut = 0;
  for (let round = 0; round < 200; round++) {
    const [qLen, kvLen] = [random.integer(1, 150), random.integer(0, 250)];
    const count = random.integer(1, 9);
    const keys: PackedKeys = {
      ...{ kind: "packed", bottomRight: true },
      q: boundsTo(qLen, count, random),
      kv: boundsTo(kvLen, count, random),
    };
    const schedule = random.pick(KINDS);
    const given = problem(keys, { qLen, kvLen, schedule });
    const plan = planAttention(
      given,
      planDevice("llvmpipe", {
        maxComputeWorkgroupsPerDimension: random.pick([3, 8, 65535]),
        maxStorageBufferBindingSize: random.pick([20000, 40000, 2 ** 27]),
        minStorageBufferOffsetAlignment: 32,
        maxLoopIterations: random.pick([150, 65535]),
      }),
    );
    const launches = allLaunches(plan);
    cut += Number(launches.length > 1);
    const where = JSON.stringify([schedule, keys, launches]);

    assert(rowsSeen(plan, given, keys).every((times) => times === 1), where);
    const longest = Math.max(...keys.kv.slice(1).map((end, n) => end - keys.kv[n]));
    const { partKeys } = plan.tokens.params(launches[0]);
    assert(plan.tokens.parts * partKeys >= longest, where);
  }
  assert(cut > 60, `${cut} of 200 problems were cut`);
});

Deno.test("planAttention() keeps launches of packed sequences to the workgroups of a dispatch", () => {
  const q = Array.from({ length: 101 }, (_, n) => n);
  const keys: PackedKeys = { kind: "packed", q, kv: q, bottomRight: true };
  const plan = planAttention(
    problem(keys, { qLen: 100, kvLen: 100 }),
    planDevice("llvmpipe", { maxComputeWorkgroupsPerDimension: 16 }),
  );
  const launches = allLaunches(plan);

  assertEquals(launches.length, 16); // heads are halved, then 100 tasks until 16 suffice
  assert(launches.every(({ queries }) => plan.tokens.queryTiles(queries) <= 16));
});

Deno.test("planAttention() has nothing to run for packed sequences without queries", () => {
  const keys: PackedKeys = { kind: "packed", q: [0, 0], kv: [0, 64], bottomRight: true };

  assertEquals(planAttention(problem(keys, { qLen: 0 }), LLVMPIPE).rounds, []);
});

const BLOCKS = { kind: "blocks", batch: 1, heads: 1, queryBlock: 24, keyBlock: 16 } as const;

Deno.test("planAttention() cuts queries under a block map at borders of blocks", () => {
  const random = new Random(2);
  let cut = 0;
  for (let round = 0; round < 100; round++) {
    const [qLen, kvLen] = [random.integer(1, 400), random.integer(0, 200)];
    const queryBlock = random.pick([1, 16, 24, 64, 100]);
    const keyBlock = random.pick([1, 16, 24, 64, 100]);
    const keys: KeyLayout = { ...BLOCKS, qLen, kvLen, queryBlock, keyBlock };
    const schedule = random.pick(KINDS);
    const given = problem(keys, { qLen, kvLen, schedule });
    const plan = planAttention(
      given,
      planDevice("llvmpipe", { maxComputeWorkgroupsPerDimension: random.pick([20, 40, 65535]) }),
    );
    const launches = allLaunches(plan);
    cut += Number(launches.length > 1);
    const tiles = Math.ceil(queryBlock * groupOf(plan, given) / queriesOfTile(plan.schedule));
    const starts = new Set(launches.map(({ queries }) => queries[0]));

    assert([...starts].every((start) => start % queryBlock === 0), `${[...starts]}`);
    for (const { queries } of launches) {
      const blocks = Math.ceil((queries[1] - queries[0]) / queryBlock);
      assert(queries[1] % queryBlock === 0 || queries[1] === qLen);
      assertEquals(plan.tokens.queryTiles(queries), blocks * tiles);
    }
  }
  assert(cut > 20, `${cut} of 100 problems were cut`);
});

Deno.test("planAttention() divides a block map into parts of whole blocks that one loop walks", () => {
  for (const keyBlock of [1, 7, 12, 16, 24, 100]) {
    for (const schedule of KINDS) {
      const kvLen = 2000;
      const keys: KeyLayout = { ...BLOCKS, qLen: 64, kvLen, keyBlock };
      const given = problem(keys, { kvLen, schedule });
      const on = planDevice("llvmpipe", { maxLoopIterations: 1000 });
      const { tokens, schedule: chosen } = planAttention(given, on);
      const { allParts, mapBlocks } = tokens.params({
        ...{ batch: [0, 1], queries: [0, 64], kvHeads: [0, 2], parts: [0, 1] },
      });
      // a key of the shuffled loop takes one iteration at least
      const share = Math.ceil(mapBlocks / allParts); // blocks of a part
      const walked = share * Math.ceil(keyBlock / keysOfTile(chosen));
      const perTile = chosen.kind === "subgroup" ? keysOfTile(chosen) + 2 : 1;

      assertEquals(mapBlocks, Math.ceil(kvLen / keyBlock));
      assertEquals(allParts, tokens.parts, `${keyBlock} ${schedule}`);
      assert(walked * perTile <= 1000, `${keyBlock} ${schedule}: ${walked} tiles`);
    }
  }
});

Deno.test("planAttention() throws when a block of a map exceeds a loop", () => {
  const keys: KeyLayout = { ...BLOCKS, qLen: 64, kvLen: 4096, keyBlock: 2048 };
  const plan = () =>
    planAttention(
      problem(keys, { kvLen: 4096, schedule: "subgroup" }),
      planDevice("llvmpipe", { maxLoopIterations: 1000 }),
    );

  assertEquals(
    assertThrows(plan, RangeError).message,
    "Cannot plan attention as the keys of a block must fit one loop of the device: keyBlock is 2048, the device allows 720",
  );
});

const CACHE: CacheKeys = {
  ...{ kind: "cache", layout: "rows", pageSize: 1, pages: 0, capacity: 4096, named: null },
  ...{ lengthHeads: 1, tableHeads: 1 },
};

Deno.test("planAttention() refuses keys that exceed a binding where they are not in a row", () => {
  // a key takes 64 bytes over both heads: 1024 of them, less 1 KiB for alignment
  const refuse = (keys: KeyLayout, kvLen: number): string =>
    assertThrows(
      () => planAttention(problem(keys, { kvLen, qLen: 1 }), SMALL),
      RangeError,
    ).message;
  const rule =
    "Cannot plan attention as all keys must fit one binding unless they are in a row: current length is";

  assertEquals(refuse(CACHE, 4096), `${rule} 4096, the device allows 1008`);
  assertEquals(
    refuse({ ...CACHE, layout: "tokens", capacity: 16 }, 4096),
    `${rule} 4096, the device allows 1008`,
  );
  assertEquals(
    refuse({ ...CACHE, layout: "pages", pages: 300, pageSize: 16, capacity: 64 }, 64),
    `${rule} 4800, the device allows 1008`,
  );
  assertEquals(
    refuse({ kind: "packed", q: [0, 1], kv: [0, 2000], bottomRight: true }, 2000),
    `${rule} 2000, the device allows 1008`,
  );
  assertEquals(
    refuse({ ...BLOCKS, qLen: 1, kvLen: 2000 }, 2000),
    `${rule} 2000, the device allows 1008`,
  );
});

Deno.test("planAttention() reads keys from textures that exceed a binding and may be copied", () => {
  const sourceFor = (pages: number): string => {
    const keys: CacheKeys = { ...CACHE, layout: "pages", pages, pageSize: 16, capacity: 64 };
    const given = problem(keys, { kvLen: 64, qLen: 1, copyable: true });
    return sourceOf(planAttention(given, SMALL).schedule);
  };

  // few of the stored keys are walked
  assertEquals(sourceFor(60), "buffer");
  assertEquals(sourceFor(300), "texture");
});

Deno.test("planAttention() divides a cache by its capacity, and reads all pages", () => {
  const keys: CacheKeys = { ...CACHE, layout: "pages", pages: 9, pageSize: 512 };
  const plan = planAttention(problem(keys, { qLen: 1, kvLen: 4096 }), LLVMPIPE);

  assertEquals(scheduleName(plan.schedule), "split-8x2-4-buffer");
  assertEquals(plan.tokens.parts, 4);
  assertEquals(plan.tokens.rows, [0, 9 * 512 * 2]);
});

Deno.test("attentionSchedules() splits keys only where heads that share a kv head see the same", () => {
  const split = (keys: KeyLayout, changes: Partial<AttentionProblem> = {}): boolean =>
    attentionSchedules(problem(keys, changes), LLVMPIPE).some(({ kind }) => kind === "split");
  const sizes = { qLen: 64, kvLen: 64 };

  assertEquals([1, 2, 4].map((heads) => split({ ...BLOCKS, ...sizes, heads })), [
    true,
    true,
    false,
  ]);
  assertEquals([1, 2, 4].map((tableHeads) => split({ ...CACHE, tableHeads })), [true, true, false]);
  assertEquals(
    [0, 1, 2, 4].map((lengthHeads) => split({ ...CACHE, lengthHeads })),
    [true, true, true, false],
  );
  assertEquals(split({ kind: "row" }, { weight: WEIGHTS.stickBreaking }), false);
});

Deno.test("attentionSchedules() has the naive schedule for keys in a row alone", () => {
  const naive = (keys: KeyLayout): boolean =>
    attentionSchedules(problem(keys), LLVMPIPE).some(({ kind }) => kind === "naive");

  assertEquals(naive({ kind: "row" }), true);
  assertEquals(naive(CACHE), false);
  assertEquals(naive({ ...BLOCKS, qLen: 64, kvLen: 64 }), false);
  assertEquals(naive({ kind: "packed", q: [0, 64], kv: [0, 64], bottomRight: true }), false);
});

Deno.test("attentionPrograms() has one text for all lengths, maps, sequences and caches of a kind", () => {
  const text = (keys: KeyLayout, changes: Partial<AttentionProblem>, schedule: string): string => {
    const given = problem(keys, { ...changes, schedule, lse: true }); // as parts have it
    return attentionPrograms(given, planAttention(given, LLVMPIPE))[0].code;
  };
  const sizes = [{ qLen: 64, kvLen: 64 }, { qLen: 9, kvLen: 1000, heads: 6, kvHeads: 3 }];
  const layouts: ((given: { qLen: number; kvLen: number }) => KeyLayout)[] = [
    ({ qLen, kvLen }) => ({ ...BLOCKS, qLen, kvLen }),
    ({ qLen, kvLen }) => ({ kind: "packed", q: [0, qLen], kv: [0, kvLen], bottomRight: true }),
    ({ kvLen }) => ({ ...CACHE, capacity: kvLen }),
    ({ kvLen }) => ({ ...CACHE, layout: "tokens", capacity: kvLen >> 1 }),
    ({ kvLen }) => ({ ...CACHE, layout: "pages", pages: kvLen, pageSize: 4, capacity: kvLen }),
  ];
  for (const schedule of KINDS) {
    for (const layout of layouts) {
      const [one, other] = sizes.map((given) => text(layout(given), given, schedule));
      assertEquals(one, other);
    }
  }
});
