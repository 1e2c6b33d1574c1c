import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { BUILTIN_SET, type BuiltinProblem } from "../../cli/builtin_set.ts";
import { Arguments } from "../../cli/command.ts";
import { selectionOf } from "../../cli/profile/selection.ts";
import type { Pass } from "../../cli/profile/document.ts";
import { adapter } from "../adapter.ts";
import { type Called, called } from "./called.ts";

const ignore = adapter === null;
const SMALL = ["--q-len", "32", "--heads", "1", "--head-dim", "8", "--runs", "2"];

Deno.test({
  name: "profile tells the passes of a call and where it stands under the roofline",
  ignore: ignore || !adapter?.features.has("timestamp-query"),
  async fn() {
    const { stdout } = await called(
      ...["profile", "attention", ...SMALL, "--schedule", "naive", "--json"],
    );

    const { name, flops, bytes, passes, roofline, ...rest } = JSON.parse(stdout);
    assertEquals(name, "B1 T32 S32 H1 D8 f32");
    assertEquals(passes.map(({ label, count }: Pass) => [label, count]), [
      ["attention (naive scores)", 1],
      ["attention (naive softmax)", 1],
      ["attention (naive values)", 1],
    ]);
    assertAlmostEquals(passes.reduce((sum: number, { share }: Pass) => sum + share, 0), 1, 1e-9);
    assert(passes.every(({ minMs, medianMs }: Pass) => 0 < minMs && minMs <= medianMs));
    assertEquals(roofline.intensity, flops / bytes);
    assertAlmostEquals(rest.fractionOfCeiling, rest.gflops / roofline.attainableGflops, 1e-9);
  },
});

Deno.test("selectionOf() tells the problems of the built-in set apart", () => {
  const args = new Arguments(["--all"], { all: { help: "" } });

  const names = selectionOf(args).workloads.map(({ operator, name }) => `${operator} ${name}`);

  assertEquals(names.length, BUILTIN_SET.length);
  assertEquals(new Set(names).size, names.length);
});

/** Runs `profile --all` with a set of problems in place of the built-in one. */
async function calledWith(set: readonly BuiltinProblem[], ...flags: string[]): Promise<Called> {
  const own = BUILTIN_SET as BuiltinProblem[];
  const kept = own.splice(0, own.length, ...set);
  try {
    return await called("profile", "--all", ...flags);
  } finally {
    own.splice(0, own.length, ...kept);
  }
}

const SET: readonly BuiltinProblem[] = [
  { operator: "attention", flags: ["--q-len", "16", "--heads", "1", "--head-dim", "8"] },
  { operator: "attention", flags: ["--q-len", "8", "--schedule", "none"] },
  { operator: "gla", flags: ["--length", "16", "--heads", "1", "--key-dim", "8"] },
];

Deno.test({
  name: "profile --all prints one document, and what this adapter cannot run",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await calledWith(SET, "--runs", "1", "--json");

    assertEquals([code, stderr], [0, ""]);
    const { command, date, profiles, leftOut, ...rest } = JSON.parse(stdout);
    assertEquals(command, "./tessera profile --all --runs 1 --json");
    assert(Date.now() - Date.parse(date) < 600_000, date);
    assertEquals(rest.adapter, adapter?.info.description);
    assert(rest.ceilingGflops > 0 && rest.ceilingGbps > 0);
    assertEquals(profiles.map(({ operator, name }: typeof rest) => [operator, name]), [
      ["attention", "B1 T16 S16 H1 D8 f32"],
      ["gla", "B1 T16 H1 K8 V8 f32 channel"],
    ]);
    assert(profiles.every((p: typeof rest) => p.ceilingGflops > 0 && p.ceilingGbps > 0));
    assertEquals(leftOut.length, 1);
    assertEquals([leftOut[0].operator, leftOut[0].name], ["attention", "B1 T8 S8 H8 D64 f32"]);
    assertStringIncludes(leftOut[0].reason, "none");
  },
});

Deno.test({
  name: "profile refuses a page that cannot be written before it measures",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await called(
      ...["profile", "attention", ...SMALL, "--html", "never-written/page.html"],
    );

    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, "Cannot write to never-written/page.html: ");
  },
});
