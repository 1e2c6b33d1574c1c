import { assertEquals } from "@std/assert";
import { main } from "../../cli.ts";
import { decodeNpy, encodeNpy, type NpyArray } from "../../cli/npy.ts";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  neighborhoodAttention,
  neighborhoodScores,
  neighborhoodValues,
} from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const random = new Random(3);
const array = (...shape: number[]) => hostTensor("f32", shape, () => random.normal());

/** Runs an operator on files of arrays and reads what it wrote. */
async function runOn(
  operator: string,
  arrays: Record<string, ReturnType<typeof array>>,
  options: object,
): Promise<Record<string, NpyArray>> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-run-" });
  const log = console.log;
  console.log = () => {};
  try {
    for (const [name, { data, shape }] of Object.entries(arrays)) {
      Deno.writeFileSync(`${folder}/${name}.npy`, encodeNpy({ data, shape }));
    }
    const files = ["--inputs", folder, "--outputs", `${folder}/results`];
    assertEquals(await main(["run", operator, ...files, "--options", JSON.stringify(options)]), 0);
    return Object.fromEntries(
      [...Deno.readDirSync(`${folder}/results`)].map(({ name }) => [
        name.replace(".npy", ""),
        decodeNpy(Deno.readFileSync(`${folder}/results/${name}`), name),
      ]),
    );
  } finally {
    console.log = log;
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test({
  name: "run() takes additional keys and values of neighborhoodAttention from files",
  ignore,
  async fn() {
    const [q, k, v] = [array(1, 6, 7, 2, 4), array(1, 6, 7, 1, 4), array(1, 6, 7, 1, 4)];
    const [additionalKeys, additionalValues] = [array(1, 3, 1, 4), array(1, 3, 1, 4)];
    const options = { windowSize: [3, 2], dilation: [2, 1], causal: [false, true], scale: 2 };

    const { out, lse } = await runOn(
      "neighborhoodAttention",
      { q, k, v, additionalKeys, additionalValues },
      options,
    );

    const expected = neighborhoodAttention(q, k, v, {
      ...options,
      additionalKeys,
      additionalValues,
    });
    assertEquals([out.shape, lse.shape], [[1, 6, 7, 2, 4], [1, 6, 7, 2]]);
    assertClose("out", out.data, expected.out.data, { ratio: 1e-6 });
    assertClose("lse", lse.data, expected.lse.data, { ratio: 1e-6 });
  },
});

Deno.test({
  name: "run() writes the one output of an unfused half as out.npy",
  ignore,
  async fn() {
    const [q, k, v] = [array(1, 9, 2, 4), array(1, 9, 2, 4), array(1, 9, 2, 4)];
    const window = { windowSize: 3, causal: true };

    const scores = await runOn("neighborhoodScores", { q, k }, window);
    const weights = array(1, 9, 2, 3);
    const values = await runOn("neighborhoodValues", { weights, v }, window);

    assertEquals([Object.keys(scores), scores.out.shape], [["out"], [1, 9, 2, 3]]);
    const [expected, mean] = [
      neighborhoodScores(q, k, window),
      neighborhoodValues(weights, v, window),
    ];
    assertClose("scores", scores.out.data, expected.data, { ratio: 1e-6 });
    assertClose("values", values.out.data, mean.data, { ratio: 1e-6 });
  },
});
