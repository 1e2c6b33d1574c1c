import { Random } from "../../cli/random.ts";
import { hyperAttention } from "../../examples/mechanisms/hyper_attention.ts";
import { assertClose } from "../assert_close.ts";
import { denseProblem, matrixOf, outputOf, scoresOf, softmaxOf } from "./dense.ts";
import { ignore, RATIO, theGpu, upload } from "./on_device.ts";
import { once, range, sum } from "./selected.ts";

Deno.test({
  name: "hyperAttention() sees its block in the order of hashes, and a share of the others",
  ignore,
  async fn() {
    const [block, planes, samples] = [16, 5, 12];
    const problem = denseProblem({ B: 2, T: 6 * block, Hq: 2, D: 8 });
    const { B, T, Hq, D } = problem;
    const random = new Random(9);
    const normals = Float32Array.from({ length: planes * D }, () => random.normal());
    const sample = Int32Array.from({ length: B * samples }, () => random.integer(0, T - 1));
    const walk = range(2 ** planes).map((n) => n ^ n >> 1); // of signs, one flipped at a time
    const placesOf = (x: Float32Array) =>
      once((b, h) => {
        const codes = range(T).map((t) => {
          const product = (r: number) =>
            sum(range(D).map((d) => x[((b * T + t) * Hq + h) * D + d] * normals[r * D + d]));
          return walk.indexOf(sum(range(planes).map((r) => product(r) > 0 ? 2 ** r : 0)));
        });
        const order = range(T).sort((t, u) => codes[t] - codes[u] || t - u);
        return range(T).map((t) => order.indexOf(t));
      });
    const [queries, keys] = [problem.q, problem.k].map(placesOf);
    const scores = scoresOf(problem);
    const weighed = matrixOf(problem, ({ b, h, i, j }, n) => {
      const [own, place] = [queries(b, h, 0)[i], keys(b, h, 0)[j]];
      if (Math.floor(own / block) === Math.floor(place / block)) return scores[n];
      const drawn = sample.subarray(b * samples, (b + 1) * samples).filter((s) => s === place);
      return scores[n] + Math.log(drawn.length * T / samples);
    });
    const [q, k, v] = upload(problem);

    const out = hyperAttention(q, k, v, {
      planes: theGpu().tensor(normals, [1, planes, 1, D]),
      block,
      sample: theGpu().tensor(sample, [B, samples]),
    });

    assertClose("out", await out.read(), outputOf(problem, softmaxOf(weighed, T)), RATIO);
  },
});
