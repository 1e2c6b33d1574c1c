import { assertEquals } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { decodeNpy, encodeNpy } from "../../cli/npy.ts";
import { Random } from "../../cli/random.ts";
import { attention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { type Called, called } from "./called.ts";

const ignore = adapter === null;
const random = new Random(9);
const normal = (length: number) => hostTensor("f32", [1, length, 2, 4], () => random.normal());
const [q, k, v] = [normal(5), normal(8), normal(8)];

/** Some of the keys, or of the values, alone. */
function some({ data, shape }: typeof k, first: number, end: number) {
  return { data: data.slice(8 * first, 8 * end), shape: [1, end - first, ...shape.slice(2)] };
}

/** Runs `run mergeAttention` on these files; in messages the folder is FOLDER. */
async function merged(
  files: Readonly<Record<string, { data: ArrayLike<number>; shape: readonly number[] }>>,
  check: (read: (name: string) => ArrayLike<number>) => void,
): Promise<Called> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-run-" });
  try {
    for (const [name, { data, shape }] of Object.entries(files)) {
      const bytes = encodeNpy({ data: Float32Array.from(data), shape });
      Deno.writeFileSync(`${folder}/${name}.npy`, bytes);
    }
    const printed = await called(
      ...["run", "mergeAttention", "--inputs", folder, "--outputs", `${folder}/results`],
    );
    check((name) => decodeNpy(Deno.readFileSync(`${folder}/results/${name}.npy`), name).data);
    return printed;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test({
  name: "run() merges parts by their numbers into attention over all keys",
  ignore,
  async fn() {
    const parts = [[0, 3], [3, 4], [4, 8]].map(([first, end]) =>
      reference(q, some(k, first, end), some(v, first, end))
    );
    const files = Object.fromEntries(parts.flatMap(({ out, lse }, n) => [
      [`parts.${n}.out`, out],
      [`parts.${n}.lse`, lse],
    ]));
    const { out, lse } = reference(q, k, v);

    const { code } = await merged(files, (read) => {
      assertClose("out", read("out"), out.data, { ratio: 1e-5 });
      assertClose("lse", read("lse"), lse.data, { ratio: 1e-5 });
    });

    assertEquals(code, 0);
  },
});

for (
  const [name, message] of [
    ["parts.x.out", "files of parts must be parts.<n>.out, .lse or .aux: one is parts.x.out"],
    ["parts.0.v", "files of parts must be parts.<n>.out, .lse or .aux: one is parts.0.v"],
    ["parts.7.out", "parts must be numbered from 0: part 0 of 1 is missing"],
  ]
) {
  Deno.test({
    name: `run() refuses to merge ${name} alone`,
    ignore,
    async fn() {
      const { code, stderr } = await merged({ [name]: q }, () => {});

      assertEquals([code, stderr], [1, `Cannot run mergeAttention as ${message}\n`]);
    },
  });
}
