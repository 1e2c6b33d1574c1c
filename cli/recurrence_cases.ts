import type { Gpu } from "../gpu/device.ts";
import { recurrenceScheduleName, recurrenceSchedules } from "../ops/recurrence/schedule.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";
import {
  checkRecurrence,
  RECURRENCE_TOLERANCE,
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceProblemOf,
} from "./recurrence_case.ts";

type Part = Partial<RecurrenceCase>;

const LOOP: Part = { mode: "loop" };
const CHUNK: Part = { mode: "chunk", chunkSize: 16 };
const CHUNKS: readonly Part[] = [CHUNK, { ...CHUNK, chunkSize: 32 }, { ...CHUNK, chunkSize: 64 }];
const GATES = ["none", "head", "token", "channel"] as const;

/** Each gate in each form. */
const FORMS: readonly Part[] = GATES.flatMap((gate) =>
  [LOOP, ...CHUNKS].map((form) => ({ gate, ...form }))
);

/** Gates that a careless exponent turns into infinities, or into states that never end. */
const NUMERICS: readonly Part[] = [LOOP, CHUNK, CHUNKS[2]].flatMap((form) => [
  { gate: "token", gates: "strong", ...form },
  { gate: "token", gates: "reset", ...form },
  { gate: "channel", gates: "strong", ...form },
  { gate: "channel", gates: "mixed", ...form },
  { gate: "channel", gates: "reset", ...form },
  { gate: "token", length: 8192, heads: 1, ...form },
  { gate: "channel", length: 8192, heads: 1, ...form },
]);

/** Sequences that are empty, of one token, of less than a chunk and of several. */
const PACKED = [0, 0, 1, 1, 18, 100, 100];

const PACKING: readonly Part[] = [
  { gate: "token", cuSeqlens: PACKED, ...LOOP },
  { gate: "token", cuSeqlens: PACKED, ...CHUNK },
  { gate: "channel", gates: "reset", cuSeqlens: PACKED, ...LOOP },
  { gate: "channel", gates: "mixed", cuSeqlens: PACKED, ...CHUNK },
  { gate: "token", batch: 3, length: 37, ...LOOP },
  { gate: "token", batch: 3, length: 37, ...CHUNK },
  { gate: "token", length: 1, ...LOOP },
  { gate: "token", length: 1, ...CHUNK },
  { gate: "token", length: 0, ...LOOP }, // hands its state on
];

/** Everything else that a recurrence may have, for chunks and, where there is time, for a loop. */
const VARIANTS: readonly (readonly [string, readonly Part[]])[] = [
  ["reverse", [{ gate: "channel", reverse: true, cuSeqlens: PACKED }]],
  ["heads", [
    { gate: "token", heads: 4, qHeads: 2, kHeads: 1 },
    { gate: "token", heads: 2, qHeads: 4, kHeads: 1 },
  ]],
  ["layout", [{ gate: "token", stateLayout: "vk" }]],
  ["dims", [{ gate: "channel", keyDim: 10, valueDim: 7 }]],
  ["normalize", [{ gate: "token", normalize: true }]],
  ["bonus", [{ gate: "channel", bonus: true }]],
  ["value gates", [{ gate: "channel", valueGate: true, gates: "mixed" }]],
  ["f16", [{ gate: "channel", dtype: "f16" }]],
];

/** Problems that --quick leaves out. */
const RARE: readonly Part[] = [LOOP, CHUNK].flatMap((form) => [
  { gate: "token", normalize: true, reverse: true, stateLayout: "vk", ...form },
  { gate: "channel", bonus: true, reverse: true, heads: 4, kHeads: 2, qHeads: 4, ...form },
  { gate: "none", initial: false, final: false, scale: 0.5, ...form },
  { gate: "token", dtype: "f16", normalize: true, ...form },
  { gate: "head", keyDim: 1, valueDim: 1, final: false, ...form },
  { gate: "channel", keyDim: 60, valueDim: 100, ...form },
]);

/** Dims whose kernels take a driver seconds to compile. */
const LARGE: readonly Part[] = [
  { gate: "token", keyDim: 192, valueDim: 20, length: 40 },
  { gate: "channel", keyDim: 256, valueDim: 256, length: 40 },
];

/** Few problems for the schedules that are not the default. */
const SCHEDULED: readonly Part[] = [
  { gate: "channel", gates: "reset", cuSeqlens: PACKED, ...LOOP },
  { gate: "channel", gates: "mixed", ...CHUNK },
  { gate: "channel", gates: "mixed", valueGate: true, length: 37, ...LOOP },
  { gate: "token", normalize: true, bonus: true, reverse: true, ...LOOP },
  { gate: "token", heads: 2, qHeads: 4, kHeads: 1, dtype: "f16", ...CHUNK },
];

/** The same for blocks of tokens, which have one decay for all channels. */
const BLOCKS: readonly Part[] = [
  { gate: "token", gates: "reset", cuSeqlens: PACKED, ...LOOP },
  { gate: "token", gates: "strong", ...CHUNK },
  { gate: "head", normalize: true, reverse: true, keyDim: 10, valueDim: 7, ...LOOP },
  { gate: "token", heads: 2, qHeads: 4, kHeads: 1, dtype: "f16", ...CHUNK },
  { gate: "token", length: 8192, heads: 1, ...LOOP },
];

/** Everything about the engine of recurrences. */
export function recurrenceGroups(gpu: Gpu, selection: CheckSelection): CheckGroup[] {
  const { quick, cases, seed } = selection;
  const group = (name: string, parts: readonly Part[]): CheckGroup => ({
    operator: "recurrence",
    group: name,
    items: caseItems(parts.map(caseOf), selection, {
      nameOf: recurrenceCaseName,
      tolerance: RECURRENCE_TOLERANCE,
      errorOf: checkRecurrence,
    }),
  });
  const forms = quick ? [CHUNK] : [LOOP, CHUNK];
  const formed = (parts: readonly Part[]): Part[] =>
    parts.flatMap((part) => forms.map((form) => ({ ...part, ...form })));
  const scheduled = (schedule: string): readonly Part[] => {
    const parts = schedule === "blocks" ? BLOCKS : SCHEDULED;
    return quick ? parts.slice(0, 1) : parts;
  };
  return [
    group("gates and forms", FORMS),
    group("numerics", NUMERICS),
    group("packing", PACKING),
    ...VARIANTS.map(([name, parts]) => group(name, formed(parts))),
    ...otherKinds(gpu).map((schedule) =>
      group(schedule, scheduled(schedule).map((part) => ({ ...part, schedule })))
    ),
    ...(quick ? [] : [group("rare", [...RARE, ...LARGE])]),
    group(`random, seed ${seed}`, randomParts(Math.ceil(cases / (quick ? 12 : 2)), seed)),
  ];
}

/** How schedules other than the default hand tokens round, where they do. */
function otherKinds(gpu: Gpu): string[] {
  const schedules = recurrenceSchedules(recurrenceProblemOf(gpu, caseOf({})), gpu);
  const kinds = schedules.map((schedule) => recurrenceScheduleName(schedule).split("-", 1)[0]);
  return [...new Set(kinds)].slice(1);
}

/** Seeded random problems over all options, on the default schedule. */
function randomParts(count: number, seed: number): Part[] {
  const random = new Random(seed);
  const often = (share: number): boolean => random.next() < share;
  return Array.from({ length: count }, (_, index) => {
    const kHeads = random.integer(1, 2);
    const heads = kHeads * random.integer(1, 2);
    const length = random.integer(1, 150);
    const cuts = [random.integer(0, length), random.integer(0, length)].sort((a, b) => a - b);
    return {
      seed: seed + index,
      ...(often(0.4) ? { cuSeqlens: [0, ...cuts, length] } : { batch: random.integer(1, 2) }),
      ...{ length, heads, kHeads, qHeads: heads * random.integer(1, 2) },
      ...{ keyDim: random.integer(3, 20), valueDim: random.integer(3, 40) },
      dtype: random.pick(["f32", "f32", "f16"] as const),
      gate: random.pick(GATES),
      gates: random.pick(["gentle", "strong", "mixed", "reset"] as const),
      ...{ valueGate: often(0.3), bonus: often(0.3), normalize: often(0.3), initial: often(0.5) },
      ...{ reverse: often(0.3), stateLayout: random.pick(["kv", "vk"] as const) },
      mode: random.pick(["loop", "chunk"] as const),
      chunkSize: random.pick([16, 32, 64] as const),
    };
  });
}

function caseOf(part: Part): RecurrenceCase {
  const { heads = 2 } = part;
  return {
    ...{ batch: 1, length: 100, heads, qHeads: heads, kHeads: heads, keyDim: 16, valueDim: 16 },
    ...{ dtype: "f32", gate: "token", gates: "gentle", seed: 1, initial: true, final: true },
    ...part,
  };
}
