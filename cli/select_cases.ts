import { assignCentroids } from "../ops/centroids/mod.ts";
import { hashTokens } from "../ops/hash/mod.ts";
import {
  argSort,
  gatherTokens,
  scatterTokens,
  selectThreshold,
  selectTopK,
  selectTopP,
} from "../ops/select/mod.ts";
import * as reference from "../reference/mod.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { exact, type Pairs, type Upload } from "./exact.ts";
import type { CheckGroup, CheckItem, CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** Rows of a selection; `max` places. */
interface RowCase {
  readonly dtype: "f32" | "f16";
  readonly rows: number;
  readonly width: number;
  readonly max: number;
  /** Few values, so that many are equal. */
  readonly ties: boolean;
}

/** Rows of one element, of a small workgroup and of a large one, and too many to sort in one. */
const ROWS: readonly (readonly [rows: number, width: number, max: number])[] = [
  ...[[3, 1, 1], [5, 7, 9], [70, 64, 8], [3, 1000, 1000], [2, 5000, 64], [2, 5000, 1500]] as const,
  [1, 70_000, 300],
];

const CASES: readonly RowCase[] = ROWS.flatMap(([rows, width, max]) =>
  (["f32", "f16"] as const).flatMap((dtype) =>
    [false, true].map((ties) => ({ dtype, rows, width, max, ties }))
  )
);

/** Selecting, sorting and moving against the oracles, exactly. */
export function selectGroups(selection: CheckSelection): CheckGroup[] {
  const { quick, dtype } = selection;
  const cases = CASES.filter((c) => dtype === undefined || c.dtype === dtype)
    .filter((c) => !quick || (c.width < 2000 && c.max <= 1000));
  const rows = (
    operator: string,
    pairsOf: (c: RowCase, x: HostTensor, upload: Upload) => Pairs,
  ): CheckGroup => ({
    ...{ operator, group: "rows" },
    items: cases.map((c) => exact(rowName(c), (upload) => pairsOf(c, scoresOf(c), upload))),
  });
  return [
    rows("selectTopK", ({ max }, x, upload) => {
      const { indices, counts } = selectTopK(upload(x), max);
      const expected = reference.selectTopK(x, max);
      return [[indices, expected.indices], [counts, expected.counts]];
    }),
    rows("selectThreshold", ({ max }, x, upload) => {
      const options = { max };
      const expected = reference.selectThreshold(x, 0.5, options);
      return limited(selectThreshold(upload(x), 0.5, options), expected);
    }),
    rows("selectTopP", ({ max }, x, upload) => {
      const positive = { ...x, data: x.data.map((score) => Math.max(0, score)) };
      const options = { max };
      return [0, 0.5, 0.9, 1].flatMap((p) => {
        const expected = reference.selectTopP(positive, p, options);
        return limited(selectTopP(upload(positive), p, options), expected);
      });
    }),
    rows("argSort", (_, x, upload) => {
      const given = upload(x);
      return [true, false].map((descending) => [
        argSort(given, { descending }),
        reference.argSort(x, { descending }),
      ]);
    }),
    { operator: "gatherTokens", group: "there and back", items: moveItems(selection) },
    { operator: "assignCentroids", group: "rounds", items: centroidItems(selection) },
    { operator: "hashTokens", group: "codes", items: hashItems(selection) },
  ];
}

function rowName({ dtype, rows, width, max, ties }: RowCase): string {
  return `${rows} x ${width} ${dtype}, ${max} places${ties ? ", ties" : ""}`;
}

function scoresOf({ dtype, rows, width, ties }: RowCase): HostTensor {
  const random = new Random(width);
  const value = (): number => ties ? random.integer(-3, 3) : random.normal();
  return hostTensor(dtype, [rows, width], () => random.next() < 0.02 ? -Infinity : value());
}

function limited(
  actual: ReturnType<typeof selectTopP>,
  expected: reference.LimitedSelection,
): Pairs {
  return [
    [actual.indices, expected.indices],
    [actual.counts, expected.counts],
    [actual.found, expected.found],
  ];
}

/** Tokens sorted by clusters and put back. */
function moveItems({ dtype }: CheckSelection): CheckItem[] {
  const cases = (["f32", "f16"] as const).filter((one) => dtype === undefined || one === dtype)
    .flatMap((one) => [8, 5].flatMap((dim) => [1, 3].map((inner) => ({ one, dim, inner }))));
  return cases.map(({ one, dim, inner }) =>
    exact(`D${dim} ${one}, ${inner === 1 ? "all heads" : "by head"}`, (upload, gpu) => {
      const random = new Random(dim);
      const x = hostTensor(one, [2, 77, 3, dim], () => random.normal());
      // no permutation: some tokens are not named, and some places name none
      const places = Array.from({ length: 77 }, (_, t) => t).sort(() => random.next() - 0.5);
      const data = Int32Array.from(
        { length: 2 * 60 * inner },
        (_, i) => i % 7 === 0 ? -1 : places[Math.floor(i / inner) % 60],
      );
      const shape = inner === 1 ? [2, 60] : [2, 60, inner];
      const indices = gpu.tensor(data, shape);
      const tokens = gatherTokens(upload(x), indices);
      const expected = reference.gatherTokens(x, { data, shape });
      const options = { length: 77 };
      return [
        [indices, { data, shape }],
        [tokens, expected],
        [
          scatterTokens(tokens, indices, options),
          reference.scatterTokens(expected, { data, shape }, options),
        ],
      ];
    })
  );
}

/** Integers, whose scores are exact in f32. */
function centroidItems({ dtype, quick }: CheckSelection): CheckItem[] {
  const sizes: readonly (readonly [length: number, count: number, capacity: number])[] = [
    ...[[100, 7, 100], [100, 7, 15], [70, 40, 2], [65, 33, 1], [30, 3, 5]] as const,
  ];
  const cases = (["f32", "f16"] as const).filter((one) => dtype === undefined || one === dtype)
    .flatMap((one) =>
      (["dot", "l2"] as const).flatMap((metric) =>
        sizes.slice(0, quick ? 2 : sizes.length).map((size) => ({ one, metric, size }))
      )
    );
  return cases.map(({ one, metric, size: [length, count, capacity] }) =>
    exact(`${metric} T${length} C${count} capacity ${capacity} ${one}`, (upload) => {
      const random = new Random(length + count);
      const x = hostTensor(one, [2, length, 2, 20], () => random.integer(-3, 3));
      const centroids = hostTensor(one, [1, count, 2, 20], () => random.integer(-3, 3));
      const options = { metric, capacity };
      const { cluster, counts } = assignCentroids(upload(x), upload(centroids), options);
      const expected = reference.assignCentroids(x, centroids, options);
      return [[cluster, expected.cluster], [counts, expected.counts]];
    })
  );
}

/** Integers, whose products are exact in f32, and 0 where planes are met. */
function hashItems({ dtype, quick }: CheckSelection): CheckItem[] {
  const counts = { hyperplane: [1, 16, 31], crossPolytope: [1, 16, 33] };
  const cases = (["f32", "f16"] as const).filter((one) => dtype === undefined || one === dtype)
    .flatMap((one) =>
      (["hyperplane", "crossPolytope"] as const).flatMap((kind) =>
        counts[kind].slice(0, quick ? 2 : 3).map((count) => ({ one, kind, count }))
      )
    );
  return cases.map(({ one, kind, count }) =>
    exact(`${kind} R${count} ${one}`, (upload) => {
      const random = new Random(count);
      const x = hostTensor(one, [2, 131, 2, 20], () => random.integer(-3, 3));
      const planes = hostTensor(one, [2, count, 1, 20], () => random.integer(-3, 3));
      const codes = hashTokens(upload(x), upload(planes), { kind });
      return [[codes, reference.hashTokens(x, planes, { kind })]];
    })
  );
}
