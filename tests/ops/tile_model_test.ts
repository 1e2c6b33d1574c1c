import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { neighborhoodAxes, type NeighborhoodAxis } from "../../ops/neighborhood/axes.ts";
import {
  type TileCost,
  tileModel,
  type TilePair,
  type TilePlacement,
  tileShapes,
} from "../../ops/neighborhood/tile_model.ts";
import { visibleKeys } from "../../reference/mod.ts";

/** Token axes without dilation; sizes are joined by x. */
function axesOf(layout: string, windowSize: string, stride: string): NeighborhoodAxis[] {
  const options = { windowSize: sizes(windowSize), stride: sizes(stride) };
  return neighborhoodAxes("test", sizes(layout), options);
}

function sizes(text: string): number[] {
  return text.split("x").map(Number);
}

function pair(queryTile: string, keyTile: string): TilePair {
  return { queryTile: sizes(queryTile), keyTile: sizes(keyTile) };
}

/** Layout, window, stride, query tile, key tile; then busiest-tile, work and FLOP bound, density. */
type Row = [string, string, string, string, string, number, number, number, number];

// math/neighborhood.md, "Checks of the model against the docs"; the kernels there have static tiles
const PUBLISHED: readonly Row[] = [
  ["32768", "2048", "1", "128", "128", 15.06, 15.11, 16, 0.945],
  ["32768", "2048", "256", "128", "128", 16, 16, 16, 1],
  ["32768", "2048", "1", "256", "128", 14.22, 14.32, 16, 0.895],
  ["256x256", "80x80", "1x1", "16x8", "16x8", 6.65, 7.51, 10.24, 0.734],
  ["256x256", "80x80", "1x1", "16x16", "16x8", 6.1, 7.06, 10.24, 0.69],
  ["256x256", "80x80", "16x16", "16x16", "16x8", 10.24, 10.24, 10.24, 1],
  ["30x48x80", "18x24x24", "1x1x1", "2x8x8", "2x8x8", 3.6, 5.44, 11.11, 0.49],
  ["30x48x80", "18x24x24", "1x1x1", "4x8x8", "2x8x8", 3.27, 4.92, 11.11, 0.443],
  ["30x48x80", "18x24x24", "16x8x8", "4x8x8", "2x8x8", 11.11, 10.42, 11.11, 0.938],
  ["16x44x80", "16x24x16", "1x1x1", "8x4x8", "4x4x8", 5.24, 6.09, 9.17, 0.664],
  ["64x64", "13x13", "1x1", "8x8", "8x8", 7.11, 8.46, 24.24, 0.349],
  ["64x64", "13x13", "1x1", "1x64", "1x64", 4.92, 4.92, 24.24, 0.203],
];

for (const [layout, windowSize, stride, queryTile, keyTile, ...expected] of PUBLISHED) {
  const name = `${layout}, window ${windowSize}, stride ${stride}, tiles ${queryTile} / ${keyTile}`;
  Deno.test(`tileModel() gives the published bounds for ${name}`, () => {
    const axes = axesOf(layout, windowSize, stride);

    const cost = tileModel(axes, pair(queryTile, keyTile), "grid");

    const { busiestBound, workBound, flopBound, density } = cost;
    assertEquals([
      ...[busiestBound, workBound, flopBound].map((bound) => Number(bound.toFixed(2))),
      Number(density.toFixed(3)),
    ], expected);
  });
}

Deno.test("tileModel() counts the tiles of three axes", () => {
  const axes = axesOf("30x48x80", "18x24x24", "1x1x1");

  const cost = tileModel(axes, pair("4x8x8", "2x8x8"), "grid");

  // 9, 9, 10, 11, 11, 10, 9, 9 tiles on the first axis; 3, 4, 5, 5, 4, 3; 3, 4, six times 5, 4, 3
  assertEquals(cost, {
    queryTiles: 8 * 6 * 10,
    visits: 78 * 24 * 44,
    busiest: 11 * 5 * 5,
    denseTiles: 15 * 6 * 10,
    workBound: 115200 ** 2 / (78 * 24 * 44 * 256 * 128),
    busiestBound: 900 / 275,
    flopBound: 115200 / (18 * 24 * 24),
    density: 115200 * 18 * 24 * 24 / (78 * 24 * 44 * 256 * 128),
    blockSparse: false,
  });
});

Deno.test("tileModel() visits fewer tiles that start at the window than on a grid", () => {
  const axes = axesOf("10", "4", "1");
  const counts = (placement: TilePlacement) => {
    const { visits, busiest } = tileModel(axes, pair("4", "4"), placement);
    return { visits, busiest };
  };

  // the queries 0-3, 4-7 and 8-9 see the keys 0-4, 2-8 and 6-9
  assertEquals(counts("grid"), { visits: 2 + 3 + 2, busiest: 3 });
  assertEquals(counts("window"), { visits: 2 + 2 + 1, busiest: 2 });
});

Deno.test("tileModel() sums over the groups of a dilation", () => {
  const pattern = { windowSize: 2, dilation: 3, causal: true };
  const axes = neighborhoodAxes("test", [8], pattern);

  const cost = tileModel(axes, pair("2", "1"), "window");

  // groups of 3, 3 and 2 tokens; their tiles see the places 0-1 and, where there is one, 1-2
  assertEquals(cost, {
    queryTiles: 2 + 2 + 1,
    visits: 4 + 4 + 2,
    busiest: 2,
    denseTiles: 8,
    workBound: 64 / 20,
    busiestBound: 4,
    flopBound: 64 / (5 + 5 + 3),
    density: 13 / 20,
    blockSparse: false,
  });
});

/** One axis and its tiles; then whether it is block-sparse on a grid and at the window. */
interface Sparse {
  what: string;
  axis: Partial<NeighborhoodAxis>;
  tiles: [number, number];
  grid: boolean;
  window: boolean;
}

const SPARSE: readonly Sparse[] = [
  { what: "blocked windows", axis: { stride: 4 }, tiles: [2, 4], grid: true, window: true },
  { what: "windows off the grid", axis: { stride: 2 }, tiles: [2, 4], grid: false, window: true },
  { what: "two windows in a tile", axis: { stride: 2 }, tiles: [4, 4], grid: false, window: false },
  { what: "ragged key tiles", axis: { stride: 4 }, tiles: [2, 3], grid: false, window: false },
  {
    what: "a causal axis",
    axis: { stride: 4, causal: true },
    tiles: [1, 1],
    grid: false,
    window: false,
  },
  { what: "a window of all tokens", axis: { length: 4 }, tiles: [3, 2], grid: true, window: true },
  {
    what: "windows that slide to one place",
    axis: { length: 5 },
    tiles: [3, 2],
    grid: false,
    window: true,
  },
  {
    what: "a longer dilation group",
    axis: { length: 9, dilation: 2 },
    tiles: [4, 4],
    grid: false,
    window: false,
  },
];

for (const { what, axis, tiles: [queryTile, keyTile], ...expected } of SPARSE) {
  Deno.test(`tileModel() finds whether a mask is needed for ${what}`, () => {
    const axes = [{ length: 16, windowSize: 4, stride: 1, dilation: 1, causal: false, ...axis }];
    const tiles = { queryTile: [queryTile], keyTile: [keyTile] };

    const grid = tileModel(axes, tiles, "grid").blockSparse;
    const window = tileModel(axes, tiles, "window").blockSparse;

    assertEquals({ grid, window }, expected);
  });
}

for (const queryTile of ["128", "256"]) {
  Deno.test(`tileModel() finds stride 256 block-sparse first for query tiles of ${queryTile}`, () => {
    const strides = Array.from({ length: 2048 }, (_, i) => i + 1).filter((stride) => {
      const axes = axesOf("32768", "2048", `${stride}`);
      return tileModel(axes, pair(queryTile, "128"), "grid").blockSparse;
    });

    assertEquals(strides, [256, 512, 768, 1024, 1280, 1536, 1792, 2048]);
  });
}

/** The Cartesian product of lists. */
function tuples(lists: readonly (readonly number[])[]): number[][] {
  return lists.reduce<number[][]>(
    (heads, list) => heads.flatMap((head) => list.map((value) => [...head, value])),
    [[]],
  );
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function volume(factors: readonly number[]): number {
  return factors.reduce((result, factor) => result * factor, 1);
}

/** The cost by enumeration of every query tile, every visited key tile and every cell in it. */
function enumerated(
  axes: readonly NeighborhoodAxis[],
  { queryTile, keyTile }: TilePair,
  placement: TilePlacement,
): TileCost {
  const tokens = tuples(axes.map(({ length }) => range(length)));
  const tilesOfQueries = Map.groupBy(tokens, (token) =>
    axes.map(({ dilation }, i) => {
      const place = Math.floor(token[i] / dilation);
      return [token[i] % dilation, Math.floor(place / queryTile[i])];
    }).join());
  const visited = [...tilesOfQueries.values()].map((queries) =>
    visitedTiles(axes, queries, keyTile, placement)
  );
  const visits = visited.reduce((sum, { tiles }) => sum + tiles, 0);
  const busiest = Math.max(...visited.map(({ tiles }) => tiles));
  const visible = visited.reduce((sum, tile) => sum + tile.visible, 0);
  const cells = visits * volume(queryTile) * volume(keyTile);
  const denseTiles = new Set(
    tokens.map((token) => token.map((x, i) => Math.floor(x / keyTile[i])).join()),
  ).size;
  return {
    queryTiles: visited.length,
    visits,
    busiest,
    denseTiles,
    workBound: tokens.length ** 2 / cells,
    busiestBound: denseTiles / busiest,
    flopBound: tokens.length ** 2 / visible,
    density: visible / cells,
    blockSparse: visited.every(({ unmasked }) => unmasked),
  };
}

/** What the queries of one tile visit: tiles, visible pairs, and whether every cell is one. */
function visitedTiles(
  axes: readonly NeighborhoodAxis[],
  queries: readonly number[][],
  keyTile: readonly number[],
  placement: TilePlacement,
): { tiles: number; visible: number; unmasked: boolean } {
  const seen = queries.map((query) =>
    new Set(tuples(axes.map((axis, i) => visibleKeys(axis, query[i]))).map((key) => key.join()))
  );
  const starts = axes.map((axis, i) => {
    const keys = queries.flatMap((query) => visibleKeys(axis, query[i]));
    const places = keys.map((key) => Math.floor(key / axis.dilation));
    const [first, last] = [Math.min(...places), Math.max(...places)];
    if (placement === "window") {
      return range(last + 1).filter((place) =>
        place >= first && (place - first) % keyTile[i] === 0
      );
    }
    return range(last + 1).filter((place) =>
      place % keyTile[i] === 0 && place + keyTile[i] > first
    );
  });
  const boxes = tuples(starts);
  const unmasked = boxes.every((start) =>
    tuples(keyTile.map(range)).every((offset) => {
      const key = axes.map(({ dilation }, i) =>
        (start[i] + offset[i]) * dilation + queries[0][i] % dilation
      ).join();
      return seen.every((keys) => keys.has(key));
    })
  );
  return { tiles: boxes.length, visible: seen.reduce((sum, { size }) => sum + size, 0), unmasked };
}

/** A valid axis of at most `longest` tokens with sizes of tiles that often divide it. */
function randomAxis(random: Random, longest: number): NeighborhoodAxis {
  const dilation = random.pick([1, 1, 2, 3]);
  const length = random.integer(2 * dilation, Math.max(longest, 2 * dilation));
  const most = Math.floor(length / dilation);
  const windowSize = random.pick([random.integer(2, most), most]);
  const stride = random.pick([1, windowSize, random.integer(1, windowSize)]);
  return { length, windowSize, stride, dilation, causal: random.next() < 0.2 };
}

/** A tile that often has a mask-free size. */
function randomTiles(random: Random, axes: readonly NeighborhoodAxis[]): TilePair {
  return {
    queryTile: axes.map(({ stride }) => random.pick([stride, random.integer(1, 5)])),
    keyTile: axes.map(({ windowSize }) => random.pick([windowSize, 2, random.integer(1, 5)])),
  };
}

Deno.test("tileModel() agrees with enumeration on random problems", () => {
  const random = new Random(20);
  const blockSparse = { grid: 0, window: 0 };
  for (let problem = 0; problem < 300; problem++) {
    const longest = random.pick([[40], [11, 11], [5, 5, 5]]);
    const axes = longest.map((tokens) => randomAxis(random, tokens));
    const tiles = randomTiles(random, axes);
    for (const placement of ["grid", "window"] as const) {
      const context = JSON.stringify({ axes, tiles, placement });
      const cost = tileModel(axes, tiles, placement);
      const { blockSparse: unmasked, ...expected } = enumerated(axes, tiles, placement);
      for (const [key, value] of Object.entries(expected)) {
        assertAlmostEquals(Object(cost)[key], value, 1e-9 * value, `${key} of ${context}`);
      }
      // a causal axis counts as masked in any case
      const causal = axes.some((axis) => axis.causal);
      assertEquals(cost.blockSparse, unmasked && !causal, context);
      if (cost.blockSparse) blockSparse[placement]++;
    }
  }
  assert(blockSparse.grid >= 20 && blockSparse.window >= 20, JSON.stringify(blockSparse));
});

/** Axes of these lengths, windows of 2. */
function shapesOf(volume: number, ...lengths: number[]): string[] {
  const axes = neighborhoodAxes("test", lengths, { windowSize: 2 });
  return tileShapes(volume, axes).map((shape) => shape.join("x"));
}

Deno.test("tileShapes() lists every way to cut a volume", () => {
  assertEquals(shapesOf(64, 100), ["64"]);
  assertEquals(shapesOf(64, 100, 100), ["1x64", "2x32", "4x16", "8x8", "16x4", "32x2", "64x1"]);
  assertEquals(shapesOf(6, 9, 9, 9), [
    ...["1x1x6", "1x2x3", "1x3x2", "1x6x1", "2x1x3", "2x3x1", "3x1x2", "3x2x1", "6x1x1"],
  ]);
  assertEquals(shapesOf(1, 2, 2), ["1x1"]);
});

Deno.test("tileShapes() leaves out sizes whose half would cover the axis", () => {
  assertEquals(shapesOf(64, 5, 100), ["1x64", "2x32", "4x16", "8x8"]);
  assertEquals(shapesOf(64, 4, 17), ["2x32", "4x16"]);
});

Deno.test("tileShapes() measures an axis by its longest dilation group", () => {
  const axes = neighborhoodAxes("test", [9, 100], { windowSize: 2, dilation: [2, 1] });

  assertEquals(tileShapes(16, axes), [[1, 16], [2, 8], [4, 4], [8, 2]]);
});

Deno.test("tileShapes() keeps every shape where all are too large", () => {
  assertEquals(shapesOf(64, 3), ["64"]);
  assertEquals(shapesOf(49, 2, 2), ["1x49", "7x7", "49x1"]);
});
