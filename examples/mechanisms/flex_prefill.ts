/**
 * FlexPrefill: each head finds out whether means of blocks predict its attention, and chooses blocks by them
 * or by the columns and diagonals of its last queries.
 *
 * The softmax of the last block of queries gives the mass of each column (vertical) and diagonal (slash) of
 * blocks; softmax(mean(q) · mean(k) / √D) estimates blocks. Where √JS(estimate, columns) < τ of the last row
 * a head sees the fewest of all its blocks that have γ of the estimated mass; else the fewest columns and the
 * fewest diagonals that have γ of theirs. The first column and the main diagonal are always seen. Lai et al.,
 * "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient Long-Sequence Inference" (ICLR
 * 2025); catalogue B05. The official code counts tokens, not blocks, until they have γ, and takes as many
 * blocks as they fill. The kernels' part is everything, the decision of each head included.
 *
 * deno run examples/mechanisms/flex_prefill.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  type BlockMap,
  blockMapFromIndices,
  gatherTokens,
  type Gpu,
  poolTokens,
  requestGpu,
  selectThreshold,
  selectTopP,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
  poolTokens as pool,
  selectTopP as topP,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";
import { scoreTable, tableOf, zeros } from "./tables.ts";

/** Options of {@linkcode flexPrefill}. */
export interface FlexPrefillOptions {
  /** Tokens of a block, a divisor of T. */
  block: number;
  /** γ: the mass that is covered; 0.9 by default. */
  gamma?: number;
  /** τ: below it means are trusted; 0.1 by default. */
  tau?: number;
}

/** Who sees whom, of q `[B, T, Hq, D]` and k `[B, T, Hkv, D]`: `attention(…, { blockMap })`. */
export function flexPrefill<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  { block, gamma = 0.9, tau = 0.1 }: FlexPrefillOptions,
): BlockMap {
  const { gpu } = q;
  const [batch, tokens, heads] = q.shape;
  const blocks = tokens / block;
  return gpu.scope(() => {
    const [queries, keys] = [q, k].map((x) => poolTokens(x, { block, kind: "mean" }));
    const lse = attentionStatistics(queries, keys, { causal: true, lse: true }).lse!;
    const score = "exp(s - lse(b, i, h))";
    const estimate = scoreTable(queries, keys, { causal: true, score, inputs: { lse } });
    const { columns, slashes } = lastMasses(q, k, block);
    const inputs = { estimate, columns };
    const apart = divergence(gpu, [batch, heads, blocks], inputs);

    const rows = [batch, heads, 1, blocks * blocks];
    const cell = "let n = i32(blocks); select(0.0, estimate(b, h, j / n, j % n), j % n <= j / n)";
    const flat = tableOf(gpu, rows, cell, { estimate, blocks });
    const [aware, vertical, slash] = [flat, columns, slashes].map((mass) => covering(mass, gamma));
    const isSeen = `let trusted = apart(b, 0, h, 0) < tau * tau;
      let crossed = vertical(b, h, 0, j) + slash(b, h, 0, i - j);
      let chosen = select(crossed, aware(b, h, 0, i * i32(blocks) + j), trusted);
      select(0.0, chosen + select(0.0, 1.0, j == 0 || i == j), j <= i)`;
    const seen = tableOf(gpu, [batch, heads, blocks, blocks], isSeen, {
      ...{ apart, tau, aware, vertical, slash, blocks },
    });
    const { indices } = selectThreshold(seen, 0.5);
    const sizes = { batch, heads, qLen: tokens, kvLen: tokens, queryBlock: block, keyBlock: block };
    return blockMapFromIndices(indices, { ...sizes, mask: "j <= i" });
  });
}

/** Shares of the last block of queries: `[B, Hq, 1, n]` of columns of blocks and of diagonals, main first. */
function lastMasses<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  block: number,
): Record<"columns" | "slashes", Tensor<"f32">> {
  const { gpu } = q;
  const [batch, tokens, heads] = q.shape;
  const blocks = tokens / block;
  const last = Int32Array.from(
    { length: batch * block },
    (_, n) => tokens - block + n % block,
  );
  const sums = attentionStatistics(gatherTokens(q, gpu.tensor(last, [batch, block])), k, {
    ...{ causal: true, columnSums: true, diagonalSums: true },
  });
  const [columns, slashes] = [sums.columnSums!, sums.diagonalSums!].map((rows) => {
    const values = gpu.wrap(rows.buffer, [batch, rows.shape[1], heads, 1], "f32");
    return poolTokens(values, { block, kind: "mean" });
  });
  const shape = [batch, heads, 1, blocks];
  return {
    columns: tableOf(gpu, shape, "columns(b, j, h, 0)", { columns }),
    slashes: tableOf(gpu, shape, "slashes(b, i32(blocks) - 1 - j, h, 0)", { slashes, blocks }),
  };
}

/** Jensen-Shannon divergence of the last row of the estimate and of the columns, `[B, 1, Hq, 1]`. */
function divergence(
  gpu: Gpu,
  [batch, heads, blocks]: readonly number[],
  inputs: Readonly<Record<"estimate" | "columns", Tensor<"f32">>>,
): Tensor<"f32"> {
  const [q, k] = zeros(gpu, [batch, 1, heads, 1], [batch, blocks, 1, 1]);
  const ones = gpu.tensor(new Float32Array(batch * blocks).fill(1), [batch, blocks, 1, 1]);
  const score = `let x = max(estimate(b, h, i32(last), j), 1e-30);
    let y = max(columns(b, h, 0, j), 1e-30);
    let m = (x + y) / 2;
    (x * log(x / m) + y * log(y / m)) / 2`;
  return attention(q, k, ones, { score, inputs: { ...inputs, last: blocks - 1 }, weight: "none" })
    .out;
}

/** 1 for the largest of each row `[B, H, 1, n]` that have a share of its sum, 0 for the others. */
function covering(mass: Tensor<"f32">, share: number): Tensor<"f32"> {
  const { indices: chosen, counts } = selectTopP(mass, share);
  const isChosen = `let least = mass(b, h, 0, chosen(b, h, 0, counts(b, h, 0) - 1));
    select(0.0, 1.0, mass(b, h, 0, j) >= least)`;
  return tableOf(mass.gpu, mass.shape, isChosen, { mass, chosen, counts });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [block, blocks, heads, dim, tau] = [32, 24, 4, 64, 0.25];
  const tokens = block * blocks;
  const shape = [1, tokens, heads, dim];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  // head 1 looks for single tokens, which means do not show
  q.data.forEach((_, n) => n % (heads * dim) === dim && (q.data[n] = 6));
  k.data.forEach((_, n) => n % (200 * heads * dim) === dim && (k.data[n] = 12));
  const [queries, keys] = [q, k].map((x) => gpu.tensor(x.data, shape));

  const [means, keyMeans] = [q, k].map((x) => pool(x, { block, kind: "mean" }));
  const table = (n: number) => Array.from({ length: n }, (_, i) => i);
  const estimates = statistics(means, keyMeans, {
    ...{ causal: true, blockMax: { queryBlock: 1, keyBlock: 1 }, lse: true },
  });
  const estimate = (h: number, i: number, j: number) =>
    Math.exp(
      estimates.blockMax!.data[(h * blocks + i) * blocks + j] -
        estimates.lse!.data[i * heads + h],
    );
  const last = q.data.slice((tokens - block) * heads * dim);
  const sums = statistics({ data: last, shape: [1, block, heads, dim] }, k, {
    ...{ causal: true, columnSums: true, diagonalSums: true },
  });
  const massOf = (data: ArrayLike<number>, h: number, n: number) =>
    table(block).reduce((sum, t) => sum + data[(n * block + t) * heads + h] / block, 0);
  const choose = (mass: number[]) => topP({ data: mass, shape: [mass.length] }, 0.9).indices.data;
  const decided = table(heads).map((h) => {
    const columns = table(blocks).map((n) => massOf(sums.columnSums!.data, h, n));
    const slashes = table(blocks).map((n) => massOf(sums.diagonalSums!.data, h, blocks - 1 - n));
    const row = table(blocks).map((j) => estimate(h, blocks - 1, j));
    const apart = row.reduce((sum, x, j) => {
      const m = (x + columns[j]) / 2;
      return sum + (x * Math.log(x / m) + columns[j] * Math.log(columns[j] / m)) / 2;
    }, 0);
    const flat = table(blocks * blocks).map((n) => estimate(h, Math.floor(n / blocks), n % blocks));
    const trusted = Math.sqrt(apart) < tau;
    return { trusted, chosen: [flat, columns, slashes].map(choose) };
  });
  const expected = reference(q, k, v, {
    mask: ({ h, i, j }) => {
      const [m, n] = [Math.floor(i / block), Math.floor(j / block)];
      const { trusted, chosen: [aware, vertical, slash] } = decided[h];
      if (j > i) return false;
      if (n === 0 || m === n) return true;
      return trusted
        ? aware.includes(m * blocks + n)
        : vertical.includes(n) || slash.includes(m - n);
    },
  });
  using blockMap = flexPrefill(queries, keys, { block, tau });
  const { out } = attention(queries, keys, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(3);
  const count = decided.filter(({ trusted }) => trusted).length;
  console.log(
    `FlexPrefill, ${count} of ${heads} heads trust means: ${await errorOf(
      out,
      expected.out,
    )}, density ${density}`,
  );
}
