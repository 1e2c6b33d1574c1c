/**
 * GRAT: tokens of an image or a video in groups; all queries of a group see the same groups of keys.
 *
 * Groups of g_t x g_h x g_w tokens are contiguous, so a group is a block, and is seen in full or not at all:
 * those around a query's group, or, criss-cross, those that share a coordinate with it (in a video: three
 * planes). The text stands behind the image, sees all and is seen by all. Ren et al., "Grouping First,
 * Attending Smartly: Training-Free Acceleration for Diffusion Transformers" (2025); catalogue N06. The
 * official code has the criss-cross regions alone; that a surrounding region is 3 groups wide on each axis,
 * and cut off at the edges, is unsure. The kernel's part is the block map, made once for all layers.
 *
 * deno run examples/mechanisms/grat.ts
 *
 * @module
 */
import { attention, type BlockMap, compileBlockMap, type Gpu, requestGpu } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode grat}. */
export interface GratOptions {
  /** Groups on each axis: rows and columns, or frames, rows and columns. */
  groups: readonly number[];
  /** Tokens of a group. */
  size: number;
  /** Which groups see each other. */
  region: "surrounding" | "criss-cross";
  /** Tokens of the text, which come last. */
  text?: number;
}

/** Who sees whom of tokens in the order of groups: `attention(…, { blockMap })`. */
export function grat(gpu: Gpu, { groups, size, region, text = 0 }: GratOptions): BlockMap {
  const product = (sizes: readonly number[]) => sizes.reduce((all, one) => all * one, 1);
  const image = product(groups) * size;
  const group = (token: string, axis: number) =>
    `${token} / ${size * product(groups.slice(axis + 1))} % ${groups[axis]}`;
  const axes = groups.map((_, axis) => [group("i", axis), group("j", axis)]);
  const seen = region === "criss-cross"
    ? axes.map(([own, other]) => `${own} == ${other}`).join(" || ")
    : axes.map(([own, other]) => `abs(${own} - ${other}) <= 1`).join(" && ");
  const length = image + text;
  return compileBlockMap(gpu, `i >= ${image} || j >= ${image} || (${seen})`, {
    ...{ qLen: length, kvLen: length, queryBlock: size, keyBlock: size },
  });
}

/** Which token, row by row, is the n-th in the order of groups: for q, k, v and positions, and back for out. */
export function groupOrder(grid: readonly number[], group: readonly number[]): number[] {
  const cut = grid.flatMap((size, axis) => [size / group[axis], group[axis]]);
  const rank = grid.length;
  // axes of groups first, axes within groups last
  const order = [...grid.map((_, axis) => 2 * axis), ...grid.map((_, axis) => 2 * axis + 1)];
  const stride = (axis: number) => cut.slice(axis + 1).reduce((all, one) => all * one, 1);
  return Array.from({ length: grid.reduce((all, one) => all * one, 1) }, (_, n) => {
    let [left, token] = [n, 0];
    for (let at = 2 * rank - 1; at >= 0; at--) {
      token += left % cut[order[at]] * stride(order[at]);
      left = Math.floor(left / cut[order[at]]);
    }
    return token;
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [grid, group, text] = [[40, 40], [8, 8], 40];
  const order = groupOrder(grid, group);
  const shape = [1, order.length + text, 2, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const places = order.map((token) => [Math.floor(token / grid[1]), token % grid[1]]);
  const expected = reference(q, k, v, {
    mask: ({ i, j }) =>
      i >= order.length || j >= order.length ||
      group.some((g, axis) => Math.floor(places[i][axis] / g) === Math.floor(places[j][axis] / g)),
  });
  const [groups, size] = [grid.map((tokens, axis) => tokens / group[axis]), 64];
  using blockMap = grat(gpu, { groups, size, region: "criss-cross", text });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(2);
  console.log(
    `GRAT, ${grid.join(" x ")} tokens in ${
      groups.join(" x ")
    } groups: density ${density}, ${await errorOf(
      out,
      expected.out,
    )}`,
  );
}
