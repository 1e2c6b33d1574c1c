import { attention as reference, type ScoreHook, type ScorePlace } from "../reference/mod.ts";
import type { HostTensor } from "./host_tensor.ts";
import {
  plainOptions,
  type ProgrammableCase,
  type ProgrammableInputs,
} from "./programmable_case.ts";
import { boundsOf, cacheTable, type MapCase, randomBlocks } from "./programmable_keys.ts";

/** A key: its row in k and v, and what hooks call it. */
interface Key {
  readonly row: number;
  readonly j: number;
}

/** Queries and keys that the oracle is asked about at once. */
interface Section {
  readonly first: number;
  readonly end: number;
  readonly keys: readonly Key[];
}

/** The float64 result of a case, sequence by sequence and head by head. */
export function programmableReference(
  c: ProgrammableCase,
  { q, k, v, bias, sinks }: ProgrammableInputs,
): { out: Float64Array; aux: Float64Array } {
  const { batch, qLen, heads, kvHeads, valueDim } = c;
  const out = new Float64Array(batch * qLen * heads * valueDim);
  const aux = new Float64Array(batch * qLen * heads);
  const listed = c.keys.kind === "map" && c.keys.from !== "mask" ? [listedBy(c, c.keys)] : [];
  const biased = bias ? [addBias(c, bias)] : [];
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (const { first, end, keys } of sectionsOf(c, b, h)) {
        const queries = Array.from({ length: end - first }, (_, i) => b * qLen + first + i);
        const rows = keys.map(({ row }) => row);
        const kvHead = Math.floor(h / (heads / kvHeads));
        const placed = ({ i, j }: ScorePlace): ScorePlace => ({ b, h, i: first + i, j: keys[j].j });
        const result = reference(
          rowsOf(q, queries, h),
          rowsOf(k, rows, kvHead),
          rowsOf(v, rows, kvHead),
          {
            ...plainOptions(c),
            score: [...biased, ...c.scores.map(({ js }) => js)].map((js) => (s, at) =>
              js(s, placed(at))
            ),
            ...(sinks && { sinks: { data: sinks.data.subarray(h, h + 1), shape: [1] } }),
            mask: [...c.masks.map(({ js }) => js), ...listed].map((js) => (at) => js(placed(at))),
            weight: c.weight.js,
          },
        );
        queries.forEach((row, i) => {
          const own = result.out.data.subarray(i * valueDim, (i + 1) * valueDim);
          out.set(own, (row * heads + h) * valueDim);
          aux[row * heads + h] = result.aux?.data[i] ?? NaN;
        });
      }
    }
  }
  return { out, aux };
}

/** Rows of a head, `[1, rows, 1, dim]`. */
function rowsOf({ data, shape }: HostTensor, rows: readonly number[], h: number) {
  const [, , heads, dim] = shape;
  const picked = new Float64Array(rows.length * dim);
  rows.forEach((row, n) => {
    const start = (row * heads + h) * dim;
    picked.set(data.subarray(start, start + dim), n * dim);
  });
  return { data: picked, shape: [1, rows.length, 1, dim] };
}

function sectionsOf(c: ProgrammableCase, b: number, h: number): Section[] {
  const { qLen, kvLen, heads, keys } = c;
  const own = (from: number, to: number): Key[] =>
    Array.from({ length: to - from }, (_, n) => ({ row: b * kvLen + from + n, j: from + n }));
  if (keys.kind === "packed") {
    const [q, kv] = [boundsOf(keys.q), boundsOf(keys.kv ?? keys.q)];
    return keys.q.map((_, n) => ({
      ...{ first: q[n], end: q[n + 1], keys: own(kv[n], kv[n + 1]) },
    }));
  }
  if (keys.kind !== "cache") return [{ first: 0, end: qLen, keys: own(0, kvLen) }];
  const { layout, pageSize, lengths, lengthHeads, tableHeads } = keys;
  const capacity = layout === "tokens" ? keys.listed : kvLen;
  const rowIn = (count: number): number => b * count + Math.floor(h / (heads / count));
  const length = lengths.length > 0 ? lengths[rowIn(lengthHeads)] : capacity;
  const table = cacheTable(c);
  const entry = (n: number): number =>
    table[rowIn(tableHeads) * (table.length / (c.batch * tableHeads)) + n];
  const keyAt = (n: number): Key => {
    if (layout === "rows") return { row: b * kvLen + n, j: n };
    if (layout === "tokens") return { row: b * kvLen + entry(n), j: entry(n) };
    return { row: entry(Math.floor(n / pageSize)) * pageSize + n % pageSize, j: n };
  };
  return [{ first: 0, end: qLen, keys: Array.from({ length }, (_, n) => keyAt(n)) }];
}

/** The score that a bias is: it comes before those of hooks. */
function addBias({ qLen, kvLen }: ProgrammableCase, { data }: HostTensor): ScoreHook {
  return (s, { h, i, j }) => s + data[(h * qLen + i) * kvLen + j];
}

/** The mask that the blocks of a map are. */
function listedBy(c: ProgrammableCase, map: MapCase): (at: ScorePlace) => boolean {
  const blocks = randomBlocks(c, map);
  const rows = Math.ceil(c.qLen / map.queryBlock);
  return ({ b, h, i, j }) => {
    const head = (map.batch === 1 ? 0 : b) * map.heads + Math.floor(h / (c.heads / map.heads));
    return blocks[head * rows + Math.floor(i / map.queryBlock)][Math.floor(j / map.keyBlock)];
  };
}
