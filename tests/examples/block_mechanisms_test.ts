import { assert, assertEquals } from "@std/assert";
import { anchorAttention, anchorMap } from "../../examples/mechanisms/anchor_attention.ts";
import { clear } from "../../examples/mechanisms/clear.ts";
import { grat, groupOrder } from "../../examples/mechanisms/grat.ts";
import { s2Attention } from "../../examples/mechanisms/s2_attention.ts";
import { attention, type BlockMap } from "../../mod.ts";
import { assertClose } from "../assert_close.ts";
import {
  type DenseProblem,
  denseProblem,
  densityOf,
  outputOf,
  type Pair,
  scoresOf,
  softmaxOf,
} from "./dense.ts";
import { ignore, RATIO, theGpu, upload } from "./on_device.ts";

const block = (token: number, size: number) => Math.floor(token / size);

/** Softmax attention over the keys that each query sees. */
function masked(problem: DenseProblem, seen: (pair: Pair) => boolean): Float64Array {
  return outputOf(problem, softmaxOf(scoresOf(problem, seen), problem.S));
}

/** Compares attention over the blocks of a map, and its density, with a mask. */
async function assertMap(
  problem: DenseProblem,
  map: BlockMap,
  seen: (pair: Pair) => boolean,
): Promise<void> {
  const [q, k, v] = upload(problem);
  const { out } = attention(q, k, v, { blockMap: map });
  assertClose("out", await out.read(), masked(problem, seen), RATIO);
  const sizes = { T: problem.T, S: problem.S, Hq: map.heads };
  assertEquals(await map.density(), densityOf(sizes, map.queryBlock, seen));
}

Deno.test({
  name: "anchorAttention() rotates, and sees the anchor and documents",
  ignore,
  async fn() {
    const problem = denseProblem({ B: 2, T: 317, Hq: 4, Hkv: 2, D: 16, Dv: 24 });
    const { T, D } = problem;
    const documents = [1, 77, 130, 1, 108].flatMap((tokens, n) => Array<number>(tokens).fill(n));
    const rotated = (x: Float32Array, heads: number) =>
      x.map((value, n) => {
        const [c, token] = [n % D, Math.floor(n / D / heads) % T];
        const [half, first] = [c % (D / 2), c < D / 2];
        const angle = token * 10000 ** (-2 * half / D);
        const other = x[first ? n + D / 2 : n - D / 2];
        return value * Math.cos(angle) + (first ? -1 : 1) * other * Math.sin(angle);
      });
    const seen = ({ i, j }: Pair) =>
      j <= i && (documents[i] === documents[j] || documents[j] === 0);
    const [q, k, v] = upload(problem);

    using map = anchorMap(theGpu().tensor(Int32Array.from(documents), [T]));
    const out = await anchorAttention(q, k, v, map).read();

    const turned = { ...problem, q: rotated(problem.q, 4), k: rotated(problem.k, 2) };
    assertClose("out", out, masked(turned, seen), RATIO);
    assertEquals(await map.density(), densityOf({ T, S: T, Hq: 1 }, 64, seen));
  },
});

Deno.test({
  name: "clear() maps circles, the text and pooled keys",
  ignore,
  async fn() {
    const [height, width, text, pooled, radius] = [11, 13, 5, 6, 4];
    const T = text + height * width;
    const problem = denseProblem({ B: 2, T, S: T + pooled, Hq: 4, Hkv: 2, D: 16 });
    using map = clear(theGpu(), { height, width, text, pooled, radius });
    await assertMap(problem, map, ({ i, j }) => {
      if (i < text) return j < T;
      if (j < text || j >= T) return true;
      const [dy, dx] = [
        block(i - text, width) - block(j - text, width),
        (i - text) % width - (j - text) % width,
      ];
      return dy * dy + dx * dx < radius * radius;
    });
  },
});

Deno.test({
  name: "clear() takes tokens in tiles, whose blocks meet fewer circles",
  ignore,
  async fn() {
    const [height, width, radius] = [24, 32, 6];
    const order = groupOrder([height, width], [8, 8]);
    const problem = denseProblem({ B: 1, T: height * width, Hq: 2, D: 16 });
    const seen = (place: (token: number) => number) => ({ i, j }: Pair) => {
      const [own, other] = [place(i), place(j)];
      const [dy, dx] = [block(own, width) - block(other, width), own % width - other % width];
      return dy * dy + dx * dx < radius * radius;
    };
    using tiled = clear(theGpu(), { height, width, radius, tile: 8 });
    using rows = clear(theGpu(), { height, width, radius });
    await assertMap(problem, tiled, seen((token) => order[token]));
    await assertMap(problem, rows, seen((token) => token));
    assert(await tiled.density() < await rows.density());
  },
});

Deno.test({
  name: "grat() maps criss-cross and surrounding groups, and the text",
  ignore,
  async fn() {
    for (
      const { grid, group, region, text } of [
        { grid: [12, 20], group: [4, 5], region: "criss-cross", text: 9 },
        { grid: [12, 24], group: [3, 4], region: "surrounding", text: 0 },
        { grid: [4, 6, 9], group: [2, 2, 3], region: "criss-cross", text: 31 },
        { grid: [6, 8, 8], group: [2, 4, 2], region: "surrounding", text: 7 },
      ] as const
    ) {
      const order = groupOrder(grid, group);
      assertEquals(order.toSorted((one, other) => one - other), [...order.keys()]);
      const [image, size] = [order.length, group.reduce<number>((all, one) => all * one, 1)];
      const groups = grid.map((tokens, axis) => tokens / group[axis]);
      const placeOf = (token: number) =>
        grid.map((tokens, axis) => {
          const inner = grid.slice(axis + 1).reduce<number>((all, one) => all * one, 1);
          return block(block(token, inner) % tokens, group[axis]);
        });
      const places = order.map(placeOf);
      const problem = denseProblem({ B: 2, T: image + text, Hq: 2, D: 16 });
      using map = grat(theGpu(), { groups, size, region, text });
      await assertMap(problem, map, ({ i, j }) => {
        if (i >= image || j >= image) return true;
        const apart = places[i].map((place, axis) => Math.abs(place - places[j][axis]));
        return region === "criss-cross" ? apart.includes(0) : apart.every((steps) => steps <= 1);
      });
      if (text === 0) assert((await map.matrix()).every((state) => state !== 1)); // no mask at all
    }
  },
});

Deno.test({
  name: "s2Attention() maps the last blocks and strides that differ by head",
  ignore,
  async fn() {
    const [T, local, stride, size] = [413, 2, 8, 16];
    for (const [kvHeads, dense] of [[8, []], [4, [3, 6]]] as const) {
      const problem = denseProblem({ B: 2, T, Hq: 8, Hkv: kvHeads, D: 16 });
      const options = { tokens: T, heads: 8, kvHeads, local, stride, dense, block: size };
      using map = s2Attention(theGpu(), options);
      await assertMap(problem, map, ({ h, i, j }) => {
        const [own, other] = [block(i, size), block(j, size)];
        const step = stride / kvHeads; // as DKernel has it
        const kvHead = Math.floor(h / (8 / kvHeads));
        const strided = (other + kvHead * step + 1) % stride === 0;
        return j <= i && (own - other < local || strided || dense.some((head) => head === h));
      });
    }
  },
});
