import { assert, assertEquals } from "@std/assert";
import { biformer } from "../../examples/mechanisms/biformer.ts";
import { flexPrefill } from "../../examples/mechanisms/flex_prefill.ts";
import { hip } from "../../examples/mechanisms/hip.ts";
import { landmarkAttention } from "../../examples/mechanisms/landmark_attention.ts";
import { questDecode } from "../../examples/mechanisms/quest_decode.ts";
import { seerAttention } from "../../examples/mechanisms/seer_attention.ts";
import { tidalDecode } from "../../examples/mechanisms/tidal_decode.ts";
import { attention, type BlockMap } from "../../mod.ts";
import { Random } from "../../cli/random.ts";
import { assertClose } from "../assert_close.ts";
import { denseProblem, outputOf, type Pair, scoresOf, softmaxOf } from "./dense.ts";
import { ignore, RATIO, theGpu, upload } from "./on_device.ts";
import { assertMap, covering, largest, mean, once, pooled, range, sum } from "./selected.ts";

Deno.test({
  name: "biformer() routes regions by their means over all heads",
  ignore,
  async fn() {
    const [block, keep] = [12, 3];
    const problem = denseProblem({ B: 2, T: 9 * block, Hq: 2, D: 16 });
    const { B, T, Hq, D } = problem;
    const sizes = { B, T, heads: Hq, D, block };
    const [queries, keys] = [problem.q, problem.k].map((x) => pooled(x, sizes, mean));
    const channels = range(Hq * D).map((n) => [Math.floor(n / D), n % D]);
    const routed = once((b, _, i) => {
      const score = (j: number) =>
        sum(channels.map(([h, c]) => queries(b, i, h, c) * keys(b, j, h, c)));
      return largest(range(9).map((j) => score(j) / Math.sqrt(Hq * D)), keep);
    });
    const [q, k] = upload(problem);

    using map = biformer(q, k, { region: block, keep });

    const seen = ({ b, i, j }: Pair) => routed(b, 0, i).includes(j);
    await assertMap(problem, map, { seen, causal: false });
    assertEquals(await map.density(), keep / 9);
  },
});

Deno.test({
  name: "seerAttention() sees the blocks that its gate prefers, and those that reach a threshold",
  ignore,
  async fn() {
    const [block, G] = [16, 8];
    const problem = denseProblem({ B: 2, T: 8 * block + 7, Hq: 4, Hkv: 2, D: 12 });
    const { B, T, Hq, Hkv, D } = problem;
    const random = new Random(8);
    const matrix = (heads: number) =>
      Float32Array.from({ length: D * heads * G }, () => 0.2 * random.normal());
    const [wq, max, min, average] = [Hq, Hkv, Hkv, Hkv].map(matrix);
    const kinds = { max: Math.max, min: Math.min };
    const queries = pooled(problem.q, { B, T, heads: Hq, D, block }, mean);
    const keys = [(x: number[]) => kinds.max(...x), (x: number[]) => kinds.min(...x), mean]
      .map((pool) => pooled(problem.k, { B, T, heads: Hkv, D, block }, pool));
    const rotated = (x: number[], token: number) =>
      x.map((value, c) => {
        const angle = token * 10000 ** (-2 * (c % (G / 2)) / G);
        const other = c < G / 2 ? -x[c + G / 2] : x[c - G / 2];
        return value * Math.cos(angle) + other * Math.sin(angle);
      });
    const times = (x: (c: number) => number, w: Float32Array, h: number) =>
      range(G).map((g) => sum(range(D).map((c) => x(c) * w[(c * (w.length / D / G) + h) * G + g])));
    const gate = once((b, h, i) => {
      const query = rotated(times((c) => queries(b, i, h, c), wq, h), i * block);
      const head = Math.floor(h / 2);
      const scores = range(i + 1).map((j) => {
        const parts = keys.map((key, n) =>
          times((c) => key(b, j, head, c), [max, min, average][n], head)
        );
        const key = rotated(range(G).map((g) => sum(parts.map((part) => part[g]))), j * block);
        return sum(key.map((x, g) => x * query[g])) / Math.sqrt(G);
      });
      const total = sum(scores.map(Math.exp));
      return scores.map((s) => Math.exp(s) / total);
    });
    const gpu = theGpu();
    const tensor = (w: Float32Array) => gpu.tensor(w, [1, D, w.length / D / G, G]);
    const weights = {
      q: tensor(wq),
      k: { max: tensor(max), min: tensor(min), mean: tensor(average) },
    };
    const [q, k] = upload(problem);
    const before = gpu.memory().tensors;

    using best = seerAttention(q, k, { block, gate: weights, keep: 3 });
    using enough = seerAttention(q, k, { block, gate: weights, threshold: 0.05 });

    assertEquals(gpu.memory().tensors, before + 4); // two for each map
    const others = once((b, h, i) => {
      return largest(gate(b, h, i).map((x, j) => i === j ? 2 : x), 3);
    });
    await assertMap(problem, best, {
      seen: ({ b, h, i, j }) => others(b, h, i).includes(j),
      causal: true,
    });
    await assertMap(problem, enough, {
      seen: ({ b, h, i, j }) => {
        if (j >= i) return i === j;
        assert(Math.abs(gate(b, h, i)[j] - 0.05) > 1e-6);
        return gate(b, h, i)[j] > 0.05;
      },
      causal: true,
    });
  },
});

Deno.test({
  name: "hip() descends to the leaves that each block of queries keeps",
  ignore,
  async fn() {
    for (const [block, keep, steps] of [[16, 2, 2], [8, 3, 3], [8, 4, 0]]) {
      const T = block * keep * 2 ** steps;
      const problem = denseProblem({ B: 2, T, Hq: 4, Hkv: 2, D: 16 });
      const scores = scoresOf(problem, ({ i, j }) => j <= i);
      const best = ({ b, h, i, j }: Pair) =>
        Math.max(...range(block).map((t) => scores[((b * 4 + h) * T + i * block + t) * T + j]));
      const leaves = once((b, h, i) => {
        let kept = range(keep);
        for (let size = T / keep / 2; size >= block; size /= 2) {
          const halves = kept.flatMap((chunk) => [2 * chunk, 2 * chunk + 1]);
          kept = largest(halves.map((half) => best({ b, h, i, j: half * size })), keep)
            .map((n) => halves[n]);
        }
        return kept.filter((j) => j <= i);
      });
      const [q, k] = upload(problem);
      const before = theGpu().memory().tensors;

      using map = hip(q, k, { block, keep });

      assertEquals(theGpu().memory().tensors, before + 2);
      const seen = ({ b, h, i, j }: Pair) => leaves(b, h, i).includes(j);
      await assertMap(problem, map, { seen, causal: true });
    }
  },
});

Deno.test({
  name: "flexPrefill() trusts means in some heads, and columns and diagonals in others",
  ignore,
  async fn() {
    const [block, blocks, gamma, tau] = [16, 8, 0.8, 0.5];
    const T = block * blocks;
    const problem = denseProblem({ B: 2, T, Hq: 4, Hkv: 2, D: 16 });
    const { B, Hq, Hkv, D, q, k } = problem;
    // queries of odd heads look for single tokens, which no mean shows, and for their neighbours
    for (let row = 0; row < B * T * Hq; row++) if (row % Hq % 2 === 1) q[row * D] = 6;
    for (let row = 0; row < B * T * Hkv; row++) {
      const t = Math.floor(row / Hkv) % T;
      k[row * D] = t === 37 || t === 70 ? 6 : t > T - 9 ? 3 : -0.4;
    }
    const sizes = (heads: number) => ({ B, T, heads, D, block });
    const [queries, keys] = [pooled(q, sizes(Hq), mean), pooled(k, sizes(Hkv), mean)];
    const estimate = once((b, h, i) => {
      const dot = (j: number) =>
        sum(range(D).map((c) => queries(b, i, h, c) * keys(b, j, Math.floor(h / 2), c)));
      const scores = range(blocks).map((j) => j > i ? 0 : Math.exp(dot(j) / Math.sqrt(D)));
      return scores.map((s) => s / sum(scores));
    });
    const weights = softmaxOf(scoresOf(problem, ({ i, j }) => j <= i), T);
    const last = range(block).map((t) => T - block + t);
    const massOf = (b: number, h: number, inPart: (i: number, j: number) => boolean) =>
      sum(
        last.flatMap((i) =>
          range(T).map((j) => inPart(i, j) ? weights[((b * Hq + h) * T + i) * T + j] / block : 0)
        ),
      );
    const choice = once((b, h) => {
      const columns = range(blocks).map((n) => massOf(b, h, (_, j) => Math.floor(j / block) === n));
      const slashes = range(blocks).map((n) =>
        massOf(b, h, (i, j) => j <= i && Math.floor((i - j) / block) === n)
      );
      const parts = estimate(b, h, blocks - 1).map((x, j) => {
        const m = (x + columns[j]) / 2;
        return (x * Math.log(x / m) + columns[j] * Math.log(columns[j] / m)) / 2;
      });
      const apart = Math.sqrt(sum(parts));
      assert(Math.abs(apart - tau) > 0.01);
      const flat = range(blocks).flatMap((i) => estimate(b, h, i));
      const cover = (mass: number[], when: boolean) => when ? covering(mass, gamma) : [];
      const trusted = apart < tau;
      return {
        ...{ trusted, flat: cover(flat, trusted) },
        ...{ vertical: cover(columns, !trusted), slash: cover(slashes, !trusted) },
      };
    });
    const [x, y] = upload(problem);
    const before = theGpu().memory().tensors;

    using map = flexPrefill(x, y, { block, gamma, tau });

    assertEquals(theGpu().memory().tensors, before + 2);
    const seen = ({ b, h, i, j }: Pair): boolean => {
      const { flat, vertical, slash } = choice(b, h, 0);
      if (j > i) return false;
      return j === 0 || i === j || flat.includes(i * blocks + j) || vertical.includes(j) ||
        slash.includes(i - j);
    };
    await assertMap(problem, map, { seen, causal: true });
    const trusted = range(B * Hq).filter((n) => choice(Math.floor(n / Hq), n % Hq, 0).trusted);
    assert(trusted.length > 0 && trusted.length < B * Hq);
    assert(await map.density() < (blocks + 1) / 2 / blocks); // less than all that causality leaves
  },
});

Deno.test({
  name: "landmarkAttention() nests the softmax of blocks in that of landmarks",
  ignore,
  async fn() {
    const [block, keep] = [16, 2];
    for (const [T, S] of [[85, 85], [3, 85], [1, 96]]) {
      const problem = denseProblem({ B: 2, T, S, Hq: 4, Hkv: 2, D: 16, Dv: 12 });
      const scores = scoresOf(problem);
      const weights = new Float64Array(scores.length);
      for (let first = 0; first < scores.length; first += S) {
        const s = scores.subarray(first, first + S);
        const token = Math.floor(first / S) % T + S - T;
        const own = Math.floor(token / block);
        const landmark = (n: number) => s[(n + 1) * block - 1];
        const values = (n: number) => range(block - 1).map((t) => n * block + t);
        const local = values(own).filter((j) => j <= token);
        const chosen = largest(range(own).map(landmark), keep);
        const total = sum([...local.map((j) => s[j]), ...chosen.map(landmark)].map(Math.exp));
        for (const j of local) weights[first + j] = Math.exp(s[j]) / total;
        for (const n of chosen) {
          const inner = sum(values(n).map((j) => Math.exp(s[j])));
          for (const j of values(n)) {
            weights[first + j] = Math.exp(landmark(n)) / total * Math.exp(s[j]) / inner;
          }
        }
      }
      const [q, k, v] = upload(problem);
      const before = theGpu().memory().tensors;

      const out = landmarkAttention(q, k, v, { block, keep });

      assertEquals(theGpu().memory().tensors, before + 1);
      assertClose("out", await out.read(), outputOf(problem, weights), RATIO);
    }
  },
});

Deno.test({
  name: "questDecode() reads the pages with the largest bounds",
  ignore,
  async fn() {
    const [page, keep] = [16, 4];
    for (const T of [1, 3]) {
      const problem = denseProblem({ B: 2, T, S: 10 * page + 5, Hq: 4, Hkv: 2, D: 16 });
      const { B, S, Hq, Hkv, D } = problem;
      const sizes = { B, T: S, heads: Hkv, D, block: page };
      const [most, least] = [Math.max, Math.min].map((extreme) =>
        pooled(problem.k, sizes, (values) => extreme(...values))
      );
      const chosen = once((b, h, i) => {
        const bounds = range(11).map((n) =>
          sum(
            range(D).map((c) => {
              const x = problem.q[((b * T + i) * Hq + h) * D + c];
              const at = [b, n, Math.floor(h / 2), c] as const;
              return Math.max(x * most(...at), x * least(...at));
            }),
          )
        );
        return largest(bounds, keep);
      });
      const [q, k] = upload(problem);

      using map = questDecode(q, k, { page, keep });

      const seen = ({ b, h, i, j }: Pair) => chosen(b, h, i).includes(j);
      await assertMap(problem, map, { seen, causal: false });
    }
  },
});

Deno.test({
  name: "tidalDecode() lists keys that other layers attend to",
  ignore,
  async fn() {
    const [keep, recent, S] = [40, 8, 301];
    const problem = denseProblem({ B: 2, T: 1, S, Hq: 6, Hkv: 2, D: 16 });
    const next = denseProblem({ B: 2, T: 1, S, Hq: 6, Hkv: 2, D: 8, Dv: 20 });
    const scores = scoresOf(problem);
    const chosen = once((b, head) => {
      const best = range(S).map((j) =>
        Math.max(...range(3).map((g) => scores[(b * 6 + head * 3 + g) * S + j]))
      );
      const others = largest(best.slice(0, S - recent), keep - recent);
      return new Set([...others, ...range(recent).map((n) => S - 1 - n)]);
    });
    const [q, k] = upload(problem);
    const before = theGpu().memory().tensors;

    using keyIndices = tidalDecode(q, k, { keep, recent });

    assertEquals(theGpu().memory().tensors, before + 1);
    const [x, y, z] = upload(next);
    const { out } = attention(x, y, z, { keyIndices });
    const weights = softmaxOf(
      scoresOf(next, ({ b, h, j }) => chosen(b, Math.floor(h / 3), 0).has(j)),
      S,
    );
    assertClose("out", await out.read(), outputOf(next, weights), RATIO);
  },
});

Deno.test({
  name: "recipes of selection take f16, and choose as they do in f32 but for rounded means",
  ignore,
  async fn() {
    const [block, keep] = [16, 2];
    const problem = denseProblem({ B: 1, T: 8 * block, Hq: 2, D: 16 });
    const [q, k, v] = [problem.q, problem.k, problem.v].map((x) =>
      theGpu().tensor(Float16Array.from(x), [1, problem.T, 2, 16])
    );
    const rounded = (x: Float32Array) => Float32Array.from(Float16Array.from(x));
    const wide = {
      ...problem,
      ...{ q: rounded(problem.q), k: rounded(problem.k), v: rounded(problem.v) },
    };
    const [x, y, z] = upload(wide);
    const differences = async (one: BlockMap, other: BlockMap) => {
      const [a, b] = [await one.matrix(), await other.matrix()];
      return a.filter((state, n) => (state > 0) !== (b[n] > 0)).length / a.length;
    };

    const routed = [
      biformer(q, k, { region: block, keep }),
      biformer(x, y, { region: block, keep }),
    ];
    const pruned = [hip(q, k, { block, keep }), hip(x, y, { block, keep })];
    const filled = [flexPrefill(q, k, { block }), flexPrefill(x, y, { block })];
    const nested = landmarkAttention(q, k, v, { block, keep });

    assert(await differences(routed[0], routed[1]) < 0.1);
    assertEquals(await differences(pruned[0], pruned[1]), 0);
    assert(await differences(filled[0], filled[1]) < 0.1);
    const expected = await landmarkAttention(x, y, z, { block, keep }).read();
    assertClose("landmarks", await nested.read(), Float64Array.from(expected), { ratio: 2e-3 });
  },
});
