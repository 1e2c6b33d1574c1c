import { assertEquals } from "@std/assert";
import plugin from "../../tools/lint_plugin.ts";

const ROOT = new URL("../../", import.meta.url);

/** The findings of the plugin on `source`, were it the file `path`: rule and message. */
function lint(path: string, source: string): string[] {
  const filename = decodeURIComponent(new URL(path, ROOT).pathname);
  const findings = Deno.lint.runPlugin(plugin, filename, source);
  return findings.map(({ id, message }) => `${id}: ${message}`);
}

const ALLOWED: [path: string, specifier: string][] = [
  ["gpu/device.ts", "./errors.ts"],
  ["kernels/attention/forward.ts", "../unroll.ts"],
  ["kernels/attention/forward.ts", "../../gpu/program.ts"],
  ["kernels/hooks/scope.ts", "../../gpu/nearest.ts"],
  ["ops/attention/mod.ts", "../../kernels/attention/forward.ts"],
  ["ops/attention/mod.ts", "../../gpu/device.ts"],
  ["reference/mod.ts", "./attention.ts"],
  ["mod.ts", "./ops/attention/mod.ts"],
  ["cli/run.ts", "../reference/mod.ts"],
  ["cli.ts", "@std/cli/parse-args"],
  ["cli/png.ts", "npm:pako@2"],
  ["cli/report/plot.ts", "@observablehq/plot"],
  ["cli/report/plot.ts", "linkedom"],
  ["tests/ops/attention_test.ts", "../../kernels/attention/forward.ts"],
  ["bench/attention_bench.ts", "@std/assert"],
];

const REFUSED: [path: string, specifier: string, target: string][] = [
  ["gpu/device.ts", "../kernels/unroll.ts", "kernels/unroll.ts"],
  ["gpu/device.ts", "npm:webgpu", "npm:webgpu"],
  ["kernels/attention/forward.ts", "../../gpu/device.ts", "gpu/device.ts"],
  ["kernels/attention/forward.ts", "../../ops/attention/plan.ts", "ops/attention/plan.ts"],
  ["ops/attention/mod.ts", "../../reference/attention.ts", "reference/attention.ts"],
  ["ops/attention/mod.ts", "node:fs", "node:fs"],
  ["reference/attention.ts", "../gpu/tensor.ts", "gpu/tensor.ts"],
  ["mod.ts", "./kernels/unroll.ts", "kernels/unroll.ts"],
  ["cli/run.ts", "../tests/assert_close.ts", "tests/assert_close.ts"],
  ["cli.ts", "@std/assert", "@std/assert"],
];

Deno.test("house/layers accepts the imports of the table", () => {
  for (const [path, specifier] of ALLOWED) {
    assertEquals(lint(path, `import "${specifier}";`), [], `${path} <- ${specifier}`);
  }
});

Deno.test("house/layers reports every other import", () => {
  for (const [path, specifier, target] of REFUSED) {
    const expected = [`house/layers: ${path.split("/")[0]} must not import ${target}`];
    assertEquals(lint(path, `import "${specifier}";`), expected);
  }
});

Deno.test("house/layers sees types, re-exports and dynamic imports", () => {
  const expected = ["house/layers: gpu must not import ops/x.ts"];
  assertEquals(lint("gpu/a.ts", `import type { X } from "../ops/x.ts";`), expected);
  assertEquals(lint("gpu/a.ts", `export { x } from "../ops/x.ts";`), expected);
  assertEquals(lint("gpu/a.ts", `export * from "../ops/x.ts";`), expected);
  assertEquals(lint("gpu/a.ts", `const x = await import("../ops/x.ts");`), expected);
  assertEquals(lint("gpu/a.ts", `export const x = 1;`), []);
});

Deno.test("house/error-message accepts the house style", () => {
  const messages = [
    `"Cannot plan attention"`,
    `'"q" must be a tensor'`,
    "`Cannot wrap the buffer as its size is ${size}`",
    "`${name} must be positive: current value is ${value}.${rest}`",
    `"Cannot compute " + name`,
    `message`,
  ];
  for (const message of messages) {
    assertEquals(lint("ops/a.ts", `throw new RangeError(${message});`), [], message);
  }
});

Deno.test("house/error-message reports lower case, periods and contractions", () => {
  const cases: [message: string, fault: string][] = [
    [`"cannot plan attention"`, "start with a capital letter or a quote"],
    ["`q has rank ${rank}`", "start with a capital letter or a quote"],
    [`"Cannot plan attention."`, "end without a period"],
    ["`Cannot plan ${name}.`", "end without a period"],
    [`"Cannot plan " + name + "."`, "end without a period"],
    [`"The device can't do this"`, "spell contractions out"],
    ["`The ${name} doesn't fit`", "spell contractions out"],
    [`"It's too large"`, "spell contractions out"],
  ];
  for (const [message, fault] of cases) {
    const expected = [`house/error-message: Error messages ${fault}`];
    assertEquals(lint("ops/a.ts", `throw new TypeError(${message});`), expected);
  }
});

Deno.test("house/no-deno and house/no-console keep globals out of the library only", () => {
  const source = `Deno.exit(1); console.log("done");`;
  assertEquals(lint("kernels/a.ts", source), [
    "house/no-deno: kernels must not use the global Deno",
    "house/no-console: kernels must not use the global console",
  ]);
  assertEquals(lint("mod.ts", source).length, 2);
  assertEquals(lint("cli/run.ts", source), []);
  assertEquals(lint("tests/a_test.ts", source), []);
});
