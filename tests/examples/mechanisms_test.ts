import { assert } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { calibratedAttention } from "../../examples/mechanisms/attention_calibration.ts";
import { kroneckerAttention } from "../../examples/mechanisms/kronecker_attention.ts";
import { selectiveAttention } from "../../examples/mechanisms/selective_attention.ts";
import { sigmoidAttention } from "../../examples/mechanisms/sigmoid_attention.ts";
import { stickBreakingAttention } from "../../examples/mechanisms/stick_breaking_attention.ts";
import { assertClose } from "../assert_close.ts";
import { denseProblem, matrixOf, outputOf, type Pair, scoresOf, softmaxOf } from "./dense.ts";
import { ignore, RATIO, theGpu, upload } from "./on_device.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

Deno.test({
  name: "sigmoidAttention() weighs keys by σ(q · k / √D + b)",
  ignore,
  async fn() {
    const problem = denseProblem({ B: 2, T: 37, S: 53, Hq: 4, Hkv: 2, D: 24, Dv: 20 });
    const [q, k, v] = upload(problem);
    const plain = scoresOf(problem).map((s) => sigmoid(s - Math.log(53)));
    assertClose("out", await sigmoidAttention(q, k, v).read(), outputOf(problem, plain), RATIO);

    const slopes = [0.5, 0.25, 0.125, 0];
    const out = sigmoidAttention(q, k, v, {
      bias: -1.5,
      causal: true,
      slopes: theGpu().tensor(Float32Array.from(slopes), [4]),
    });
    const scores = scoresOf(problem);
    const weights = matrixOf(problem, ({ h, i, j }, n) => {
      const ago = i + 53 - 37 - j;
      return ago < 0 ? 0 : sigmoid(scores[n] - 1.5 - slopes[h] * ago);
    });
    assertClose("causal", await out.read(), outputOf(problem, weights), RATIO);
  },
});

Deno.test({
  name: "selectiveAttention() sharpens later rows and takes temperatures of tokens",
  ignore,
  async fn() {
    const problem = denseProblem({ B: 2, T: 75, Hq: 4, Hkv: 2, D: 16 });
    const { T, Hq, Hkv, D, v } = problem;
    const random = new Random(6);
    const tau = (heads: number) =>
      Float32Array.from({ length: 2 * T * heads }, () => Math.tanh(random.normal()));
    const [tokens, values] = [tau(Hq), tau(Hkv)];
    const scaled = { ...problem, v: v.map((x, n) => x * values[Math.floor(n / D)]) };
    const scores = scoresOf(problem, ({ i, j }) => j <= i);
    for (const own of [undefined, tokens]) {
      const weights = matrixOf(problem, ({ b, h, i, j }, n) => {
        const position = 1 + Math.exp(-Math.exp(0.4)) * Math.log(i + 1);
        const token = own ? own[(b * T + i) * Hq + h] : 0;
        return j > i ? -Infinity : (position + token) * scores[n];
      });
      const [q, k, scaledV] = upload(scaled);
      const given = own && { tokens: theGpu().tensor(own, [2, T, Hq]) };
      const out = selectiveAttention(q, k, scaledV, { beta: 0.4, ...given });
      const expected = outputOf(scaled, softmaxOf(weights, T));
      assertClose("out", await out.read(), expected, RATIO);
    }
  },
});

Deno.test({
  name: "stickBreakingAttention() breaks off shares from the nearest key on",
  ignore,
  async fn() {
    for (const [Hkv, remainder, routed] of [[2, false, false], [4, true, false], [4, true, true]]) {
      const problem = denseProblem({ B: 2, T: 71, Hq: 4, Hkv: Number(Hkv), D: 16 });
      const { B, T, Hq } = problem;
      const scores = scoresOf(problem);
      // short sticks would leave nothing: the catalogue's product, from the definition
      const weights = matrixOf(problem, ({ i, j }, n) => {
        if (j >= i) return 0;
        let left = 1;
        for (let between = j + 1; between < i; between++) left *= sigmoid(-scores[n - j + between]);
        return sigmoid(scores[n]) * left;
      });
      const gates = Float32Array.from(
        { length: B * T * Hq },
        (_, n) => routed ? [0, 0.3, 0, 0.7][(n + Math.floor(n / Hq)) % 4] : 1,
      );
      const all = matrixOf(problem, ({ b, h, i, j }, n) => {
        const row = weights.subarray(n - j, n - j + T);
        const rest = remainder && i === j ? 1 - row.reduce((sum, share) => sum + share, 0) : 0;
        return gates[(b * T + i) * Hq + h] * (weights[n] + rest);
      });
      const [q, k, v] = upload(problem);
      const out = stickBreakingAttention(q, k, v, {
        remainder: Boolean(remainder),
        ...(routed && { gates: theGpu().tensor(gates, [B, T, Hq]) }),
      });
      assertClose("out", await out.read(), outputOf(problem, all), RATIO);
    }
  },
});

Deno.test({
  name: "calibratedAttention() moves weight of sinks to the rest of a row",
  ignore,
  async fn() {
    const problem = denseProblem({ B: 2, T: 61, Hq: 4, Hkv: 2, D: 16 });
    const { T } = problem;
    const [threshold, beta, heads] = [0.045, 0.3, [1, 2]];
    const weights = softmaxOf(scoresOf(problem, ({ i, j }) => j <= i), T);
    const columns = new Float64Array(2 * 4 * T); // [B, Hq, S]
    const column = ({ b, h, j }: Pair) => (b * 4 + h) * T + j;
    matrixOf(problem, (pair, n) => columns[column(pair)] += weights[n] / (T - pair.j));
    assert(columns.every((mean) => Math.abs(mean - threshold) > 1e-5)); // or f32 could differ
    const isSink = (pair: Pair) => pair.j > 0 && columns[column(pair)] > threshold;
    const ofSinks = new Float64Array(2 * 4 * T); // the weight of each row, [B, Hq, T]
    matrixOf(problem, (pair, n) => ofSinks[Math.floor(n / T)] += isSink(pair) ? weights[n] : 0);
    const calibrated = matrixOf(problem, (pair, n) => {
      if (!heads.includes(pair.h)) return weights[n];
      if (isSink(pair)) return beta * weights[n];
      const sinks = ofSinks[Math.floor(n / T)];
      return weights[n] + (1 - beta) * sinks * weights[n] / (1 - sinks);
    });
    const [q, k, v] = upload(problem);

    const out = await calibratedAttention(q, k, v, { threshold, beta, heads }).read();

    assertClose("out", out, outputOf(problem, calibrated), RATIO);
    const plain = outputOf(problem, weights);
    assert(out.some((x, n) => Math.abs(x - plain[n]) > 0.05));
  },
});

Deno.test({
  name: "kroneckerAttention() attends to all pairs of two lists of keys",
  ignore,
  async fn() {
    const problem = denseProblem({ B: 2, T: 23, S: 19, Hq: 4, Hkv: 2, D: 16, Dv: 12 });
    const { B, T, S, Hq, D, Dv, q, k, v } = problem;
    const [second, scale] = [7, 0.3];
    const random = new Random(7);
    const rows = (width: number) =>
      Array.from(
        { length: second },
        () => Float32Array.from({ length: Hq * width }, () => random.normal()),
      );
    const [k2, v2] = [rows(D), rows(Dv)];
    const expected = new Float64Array(B * T * Hq * Dv);
    for (let row = 0; row < B * T * Hq; row++) {
      const [h, b] = [row % Hq, Math.floor(row / Hq / T)];
      let sum = 0;
      for (let pair = 0; pair < S * second; pair++) {
        const [j, l] = [Math.floor(pair / second), pair % second];
        const key = (b * S + j) * 2 + Math.floor(h / 2);
        let s = 0;
        for (let c = 0; c < D; c++) s += q[row * D + c] * k[key * D + c] * k2[l][h * D + c];
        sum += Math.exp(scale * s);
        for (let c = 0; c < Dv; c++) {
          expected[row * Dv + c] += Math.exp(scale * s) * v[key * Dv + c] * v2[l][h * Dv + c];
        }
      }
      for (let c = 0; c < Dv; c++) expected[row * Dv + c] /= sum;
    }
    const gpu = theGpu();
    const tokens = k2.map((key, l) => ({
      k: gpu.tensor(key, [Hq * D, 1]),
      v: gpu.tensor(v2[l], [Hq * Dv, 1]),
    }));

    const [x, y, z] = upload(problem);
    const out = kroneckerAttention(x, y, z, { second: tokens, scale });

    assertClose("out", await out.read(), expected, RATIO);
  },
});
