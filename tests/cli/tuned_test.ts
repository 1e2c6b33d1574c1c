import { assertEquals, assertStringIncludes } from "@std/assert";
import { encodeNpy } from "../../cli/npy.ts";
import { readTuning, withChoice, writeTuning } from "../../cli/tune/document.ts";
import { adapterKey } from "../../gpu/tuning.ts";
import { requestGpu } from "../../mod.ts";
import { adapter } from "../adapter.ts";
import { called } from "./called.ts";

const ignore = adapter === null;

/** The class of `scan` problems that the tests tune. */
const PROFILE = "profile hgrn --length 64 --channels 8 --runs 1 --json".split(" ");

/** Runs a test with a directory that is removed behind it. */
async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "tessera-tuned-" });
  try {
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Saves a choice for this adapter. */
async function save(path: string, problemClass: string, choice: object): Promise<void> {
  using gpu = await requestGpu();
  const place = [adapterKey(gpu.adapter, gpu.features), problemClass] as const;
  await writeTuning(path, withChoice({ version: 1, adapters: {} }, place, choice));
}

Deno.test({
  name: "profile --tuning times what was chosen, in the place of the default",
  ignore,
  async fn() {
    await withDirectory(async (directory) => {
      const path = `${directory}/tuning.json`;
      const scheduleOf = async (choice: object): Promise<string> => {
        await save(path, "scan hgrn f32", choice);
        const { code, stdout } = await called(...PROFILE, "--tuning", path);
        assertEquals(code, 0);
        return JSON.parse(stdout).schedule;
      };

      const loop = await scheduleOf({ mode: "loop" });
      const chunk = await scheduleOf({ mode: "chunk", chunkSize: 16 });

      assertEquals([loop, chunk], ["loop", "chunk-16"]);
    });
  },
});

Deno.test({
  name: "run and check compute with a tuning, here and in workers",
  ignore,
  async fn() {
    await withDirectory(async (directory) => {
      const path = `${directory}/tuning.json`;
      await save(path, "attention f32 D4 full", { schedule: "naive" });
      for (const name of ["q", "k", "v"]) {
        const data = Float32Array.from({ length: 8 }, (_, i) => i / 8);
        Deno.writeFileSync(`${directory}/${name}.npy`, encodeNpy({ data, shape: [1, 2, 1, 4] }));
      }
      const files = ["--inputs", directory, "--outputs", `${directory}/out`];

      const run = await called("run", "attention", ...files, "--tuning", path);
      const check = await called("check", "hgrn", "--quick", "--jobs", "2", "--tuning", path);

      assertEquals([run.code, run.stderr], [0, ""]);
      assertEquals([check.code, check.stderr], [0, ""]);
      assertStringIncludes(check.stdout, "all agree");
    });
  },
});

Deno.test("commands refuse what is no tuning before any work, and name the file", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/tuning.json`;
    const refused = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await called(...words, "--tuning", path);
      assertEquals([code, stdout, stderr.trim().split("\n").length], [1, "", 1]);
      return stderr.trim();
    };

    for (const words of [PROFILE, ["check", "hgrn"], ["run", "--repeat", "/dev/null"]]) {
      assertEquals(await refused(...words), `Cannot read ${path}: there is no such file`);
    }
    Deno.writeTextFileSync(path, "{");
    assertStringIncludes(await refused(...PROFILE), `Cannot use ${path} as it must hold a tuning:`);
    Deno.writeTextFileSync(path, "[]");
    assertEquals(
      await refused(...PROFILE),
      `Cannot use ${path} as tuning must be an object: it is Array`,
    );
    assertEquals(await readTuning(path).catch(({ name }) => name), "TypeError");
  });
});
