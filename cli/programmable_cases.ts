import { type MaskName, MASKS, type ScoreName, SCORES, WEIGHTS } from "./hook_pairs.ts";
import { TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { type ProgrammableCase, programmableName } from "./programmable_case.ts";
import { programmableError } from "./programmable_error.ts";
import type { CacheCase, KeyCase, MapCase } from "./programmable_keys.ts";

/** A case by the names of its hooks and weight; B2 T70 S130 H4/2 D8 f32 where nothing is said. */
interface Row
  extends Partial<Omit<ProgrammableCase, "scores" | "masks" | "weight" | "schedule" | "keys">> {
  readonly on: readonly ("subgroup" | "workgroup" | "split" | "naive")[];
  readonly scores?: readonly ScoreName[];
  readonly masks?: readonly MaskName[];
  readonly weight?: string;
  readonly keys?: KeyCase;
}

/** Rows of every run, and those that `--quick` leaves out. */
interface Table {
  readonly quick: readonly Row[];
  readonly full: readonly Row[];
}

const TILED = ["subgroup", "workgroup", "split"] as const;
const ALL = [...TILED, "naive"] as const;
const TILES = ["subgroup", "workgroup"] as const;

const SIZES = { batch: 2, qLen: 70, kvLen: 130, heads: 4, kvHeads: 2, headDim: 8, valueDim: 8 };
const DECODE = { qLen: 1, kvLen: 300 } as const;
const SMALL = { batch: 1, qLen: 33, kvLen: 17 } as const;

const ALIBI = { scores: ["alibi"], masks: ["checks"] } as const;

const HOOKS: Table = {
  quick: [
    { on: ALL, ...ALIBI },
    { on: TILED, ...ALIBI, ...SMALL },
    { on: ["subgroup", "split"], ...ALIBI, ...DECODE },
    { on: ["workgroup"], scores: ["tables"], causal: true, dtype: "f16" },
    { on: ["split"], scores: ["holes"], masks: ["far"] },
  ],
  full: [
    { on: ["subgroup", "split", "naive"], scores: ["tables"], causal: true },
    { on: ["subgroup", "workgroup"], scores: ["holes"], masks: ["far"] },
    { on: ALL, scores: ["heat", "cap"], masks: ["documents", "reach"], dtype: "f16", headDim: 16 },
    { on: ALL, ...ALIBI, softcap: 3, window: { left: 30, right: 9 }, headDim: 10, valueDim: 7 },
    { on: TILED, masks: ["documents"], inputs: "huge", kvLen: 200, qLen: 200 },
  ],
};

const weight = (name: string, on: Row["on"], rest: Partial<Row> = {}): Row => ({
  ...{ on, weight: name, masks: ["checks"], ...rest },
});
const WEIGHTED: Table = {
  quick: [
    weight("sigmoid", ["subgroup"]),
    weight("softplus", ["split"]),
    weight("relu", ["workgroup"]),
    weight("elu1", ["subgroup"]),
    weight("none", ["naive"]),
    weight("stickBreaking", TILES),
    weight("square", ["subgroup"]),
  ],
  full: WEIGHTS.filter(({ name }) => name !== "softmax").flatMap(({ name }): Row[] => [
    weight(name, name === "stickBreaking" ? ["naive"] : ["split", "workgroup"], {
      ...{ scores: ["alibi"], causal: true },
    }),
    weight(name, ["subgroup"], { inputs: "huge", masks: [] }),
    weight(name, name === "stickBreaking" ? ["subgroup"] : ["split"], {
      ...{ dtype: "f16", qLen: 3, kvLen: 700, batch: 1, masks: ["reach"] },
    }),
  ]),
};

const map = (
  from: MapCase["from"],
  queryBlock: number,
  keyBlock: number,
  [batch, heads]: readonly [number, number] = [1, 1],
): { keys: MapCase } => ({ keys: { kind: "map", from, queryBlock, keyBlock, batch, heads } });
const CHECKED = map("mask", 16, 24, [2, 4]);
const LISTED = map("indices", 24, 16, [2, 2]);
const MAPS: Table = {
  quick: [
    { on: ["subgroup"], ...CHECKED, masks: ["checks"] },
    { on: ["subgroup"], ...CHECKED, masks: ["checks"], qLen: 100, kvLen: 70 },
    { on: ["workgroup"], ...map("matrix", 64, 64), masks: ["causal"], qLen: 130, dtype: "f16" },
    { on: ["split"], ...LISTED },
    { on: ["split"], ...LISTED, ...DECODE },
  ],
  full: [
    { on: TILES, ...map("mask", 1, 1, [1, 4]), masks: ["reach"], qLen: 40, kvLen: 50, batch: 1 },
    { on: TILED, ...map("mask", 100, 100), masks: ["far"], qLen: 250, kvLen: 210 },
    { on: TILED, ...map("mask", 64, 16, [2, 1]), masks: ["documents"], kvLen: 200, qLen: 150 },
    { on: TILED, ...map("matrix", 16, 100, [1, 2]), dtype: "f16", kvLen: 330, headDim: 16 },
    { on: TILES, ...map("matrix", 24, 64, [2, 4]), scores: ["alibi"], kvLen: 333 },
    { on: TILES, ...map("indices", 100, 24, [1, 4]), masks: ["checks"], dtype: "f16", qLen: 201 },
    { on: TILES, ...map("matrix", 64, 24), weight: "stickBreaking", masks: ["causal"], qLen: 130 },
    { on: TILED, ...map("mask", 24, 24), masks: ["far"], softcap: 4, biased: true },
    { on: TILED, ...map("mask", 16, 64), weight: "relu", masks: ["causal"], qLen: 130 },
    { on: ["split"], ...map("matrix", 1, 64, [2, 2]), qLen: 2, kvLen: 1500, heads: 8 },
  ],
};

const PACKED = { batch: 1, qLen: 123, kvLen: 150 } as const;
const LENGTHS: KeyCase = {
  ...{ kind: "packed", q: [0, 1, 30, 59, 0, 33], kv: [5, 0, 55, 1, 19, 70] },
};
const ONE_TOKEN_EACH: KeyCase = { kind: "packed", q: [1, 1, 1, 0, 1] };
const SEQUENCES: Table = {
  quick: [
    { on: TILED, ...PACKED, causal: true, keys: LENGTHS },
    { on: TILED, batch: 1, qLen: 4, kvLen: 4, causal: true, keys: ONE_TOKEN_EACH },
  ],
  full: [
    { on: TILED, ...PACKED, keys: LENGTHS, dtype: "f16", headDim: 16, valueDim: 12 },
    { on: TILED, ...PACKED, causal: "top-left", window: { left: 20 }, keys: LENGTHS },
    { on: TILED, ...PACKED, window: { left: 7, right: 3 }, scores: ["alibi"], keys: LENGTHS },
    { on: TILED, ...PACKED, causal: true, softcap: 4, biased: true, keys: LENGTHS },
    { on: TILED, ...PACKED, masks: ["reach"], weight: "softplus", keys: LENGTHS },
    { on: TILES, ...PACKED, causal: true, weight: "stickBreaking", keys: LENGTHS },
    {
      ...{ on: ["split"], batch: 1, qLen: 6, kvLen: 1290, causal: true },
      keys: { kind: "packed", q: [2, 1, 3], kv: [90, 1200, 0] },
    },
  ],
};

const cache = (
  layout: CacheCase["layout"],
  part: Partial<CacheCase> = {},
): { keys: CacheCase } => ({
  keys: {
    ...{ kind: "cache", layout, pageSize: 1, listed: 0, lengths: [], lengthHeads: 1 },
    ...{ tableHeads: 1, ...part },
  },
});
const PAGED = { batch: 3, kvLen: 80, ...cache("pages", { pageSize: 16, lengths: [0, 37, 80] }) };
const TOKENS = cache("tokens", {
  listed: 29,
  lengthHeads: 2,
  tableHeads: 2,
  lengths: [0, 29, 7, 1],
});
const CACHES: Table = {
  quick: [
    { on: ["split", "subgroup"], ...PAGED, qLen: 1, causal: true },
    { on: ["split", "subgroup"], ...PAGED, qLen: 5, causal: true },
    { on: ["workgroup"], ...PAGED, qLen: 40, causal: true },
    { on: ["subgroup", "split"], ...TOKENS, qLen: 9, dtype: "f16" },
    { on: ["workgroup"], ...cache("rows", { lengths: [130, 1] }) },
  ],
  full: [
    {
      ...{ on: TILED, qLen: 3, kvLen: 21, dtype: "f16" },
      ...cache("pages", { pageSize: 1, lengths: [21, 4, 0, 20], lengthHeads: 2 }),
    },
    { on: TILED, kvLen: 60, ...cache("pages", { pageSize: 12, tableHeads: 2 }), masks: ["checks"] },
    {
      ...{ on: TILED, qLen: 70, window: { left: 9 }, causal: true },
      ...cache("rows", { lengths: [60, 111] }),
    },
    { on: TILES, ...TOKENS, scores: ["alibi"], masks: ["reach"], dtype: "f16" },
    { on: TILED, ...cache("tokens", { listed: 40 }), weight: "sigmoid" },
    { on: TILED, ...cache("tokens", { listed: 40, lengths: [0, 33] }), biased: true },
    { on: TILED, ...PAGED, qLen: 7, causal: true, softcap: 4, biased: true, dtype: "f16" },
    { on: TILES, ...cache("tokens", { listed: 40, tableHeads: 4 }), weight: "stickBreaking" },
    {
      ...{ on: ["split"], qLen: 2, kvLen: 1600, batch: 1, causal: true },
      ...cache("pages", { pageSize: 16, lengths: [1100] }),
    },
    { on: ["split"], qLen: 1, kvLen: 900, batch: 1, ...cache("tokens", { listed: 700 }) },
  ],
};

const GROUPS: Readonly<Record<string, Table>> = {
  ...{ hooks: HOOKS, weights: WEIGHTED, "block maps": MAPS, packed: SEQUENCES, cache: CACHES },
};

/** Hooks, weights, block maps, packed sequences and caches; `kinds` of schedules fit the adapter. */
export function programmableGroups(
  kinds: readonly string[],
  selection: CheckSelection,
): CheckGroup[] {
  return Object.entries(GROUPS).map(([group, { quick, full }]) => {
    const rows = selection.quick ? quick : [...quick, ...full];
    const cases = rows.flatMap((row) =>
      row.on.filter((kind) => kinds.includes(kind)).map((kind) => caseOf(row, kind))
    );
    const items = caseItems(cases, selection, {
      nameOf: programmableName,
      tolerance: TOLERANCE,
      errorOf: programmableError,
    });
    return { operator: "attention", group, items };
  });
}

function caseOf(row: Row, schedule: string): ProgrammableCase {
  const { scores = [], masks = [], weight = "softmax", on: _on, ...rest } = row;
  const found = WEIGHTS.find(({ name }) => name === weight);
  if (found === undefined) {
    throw new RangeError(`Cannot check the weight "${weight}": it is unknown`);
  }
  return {
    ...{ ...SIZES, dtype: "f32", inputs: "normal", seed: 1, keys: { kind: "row" } },
    ...rest,
    ...{ schedule, weight: found },
    scores: scores.map((name) => SCORES[name]),
    masks: masks.map((name) => MASKS[name]),
  };
}
