import { assert, assertEquals, assertThrows } from "@std/assert";
import { hookFunction } from "../../cli/hook_function.ts";
import { Random } from "../../cli/random.ts";
import { HookError, type HookSignature, parseHook } from "../../kernels/hooks/hook.ts";
import { requestGpu } from "../../mod.ts";
import { adapter } from "../adapter.ts";
import { EXPRESSIONS, SCORE, type Values } from "../kernels/hook_expressions.ts";
import { runShader } from "../kernels/run_shader.ts";

/** What the shader of the expressions reads from its inputs. */
const READS = {
  slope: (x: number) => 0.5 * x + 0.25,
  table: (x: number, y: number) => 10 * x + y,
};

/** Values within which integers do not overflow, as the expressions want them. */
function points(): Values[] {
  const random = new Random(3);
  return Array.from({ length: 20 }, () => ({
    s: 8 * random.normal(),
    h: random.integer(0, 7),
    i: random.integer(1, 60),
    j: random.integer(0, 1000),
    u: random.integer(1, 30),
    m: random.next() < 0.5,
  }));
}

for (const [source, expected, tolerance = 1e-6] of EXPRESSIONS) {
  Deno.test(`hookFunction() computes ${source.replaceAll("\n", " ")}`, () => {
    const { call } = hookFunction(source, SCORE, READS);

    for (const point of points()) {
      const [value, wanted] = [Number(call({ ...point })), expected(point)];
      const error = Math.abs(value - wanted) / Math.max(Math.abs(wanted), 1e-3);
      assert(error <= tolerance, `${JSON.stringify(point)}: ${value}, not ${wanted}`);
    }
  });
}

const INTEGERS: HookSignature = {
  ...{ name: "score", variables: { i: "i32", u: "u32", s: "f32" }, inputs: {}, result: "f32" },
};
const LARGEST = { i: 2 ** 31 - 1, u: 2 ** 32 - 1, s: -1e30 };
const LEAST = { i: -(2 ** 31), u: 0, s: 1e30 };

const EDGES: readonly [string, typeof LARGEST, number][] = [
  ["f32(i + 1)", LARGEST, -(2 ** 31)],
  ["f32(u + 1u)", LARGEST, 0],
  ["f32(u - 1u)", LEAST, 2 ** 32 - 1],
  ["f32(i * i)", LARGEST, 1],
  ["f32(u * u)", LARGEST, 1],
  ["f32(-i)", LEAST, -(2 ** 31)],
  ["f32(abs(i))", LEAST, -(2 ** 31)],
  ["f32(~u)", LEAST, 2 ** 32 - 1],
  ["f32(u ^ 1u)", LARGEST, 2 ** 32 - 2],
  ["f32(1u << (u & 31u))", LARGEST, 2 ** 31],
  ["f32(u >> 4u)", LARGEST, 2 ** 28 - 1],
  ["f32(i >> 4u)", LEAST, -(2 ** 27)],
  ["f32(i / (i - i))", LARGEST, 2 ** 31 - 1],
  ["f32(i % (i - i))", LARGEST, 0],
  ["f32(i / i32(bool(i)) / -i32(bool(i)))", LEAST, -(2 ** 31)],
  ["f32(u / 2u)", LARGEST, 2 ** 31 - 1],
  ["f32(i32(s))", LARGEST, -(2 ** 31)],
  ["f32(u32(s))", LARGEST, 0],
  ["f32(u32(s))", LEAST, 2 ** 32 - 2 ** 8],
  ["f32(i32(s))", LEAST, 2 ** 31 - 2 ** 7],
  ["f32(i32(u))", LARGEST, -1],
  ["f32(u32(i))", LEAST, 2 ** 31],
  ["f32(firstTrailingBit(u))", LEAST, 2 ** 32 - 1],
  ["f32(reverseBits(i))", LEAST, 1],
];

for (const [source, values, expected] of EDGES) {
  Deno.test(`hookFunction() wraps and cuts as WGSL does: ${source} is ${expected}`, () => {
    assertEquals(hookFunction(source, INTEGERS).call(values), expected);
  });
}

/** A shader that evaluates every edge on its values. */
function edgeShader(): string {
  const hooks = EDGES.map(([source], n) =>
    `fn hook_${n}(i: i32, u: u32, s: f32) -> f32 {\n${parseHook(source, INTEGERS).code}\n}`
  );
  const cases = EDGES.map((_, n) => `  case ${n}u: { out[${n}] = hook_${n}(x.i, x.u, x.s); }`);
  return /* wgsl */ `
struct Values { i: i32, u: u32, s: f32 }
@group(0) @binding(0) var<storage, read> values: array<Values>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
${hooks.join("\n")}

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) workgroup: vec3u) {
  let x = values[workgroup.x];
  switch workgroup.x {
${cases.join("\n")}
  default: {}
  }
}`;
}

Deno.test({
  name: "hookFunction() wraps and cuts as this adapter does",
  ignore: adapter === null,
  async fn() {
    const view = new DataView(new ArrayBuffer(12 * EDGES.length));
    EDGES.forEach(([, { i, u, s }], n) => {
      view.setInt32(12 * n, i, true);
      view.setUint32(12 * n + 4, u, true);
      view.setFloat32(12 * n + 8, s, true);
    });
    using gpu = await requestGpu();

    const found = await runShader(gpu.device, edgeShader(), view.buffer, {
      ...{ rows: EDGES.length, columns: 1 },
    });

    EDGES.forEach(([source, values], n) =>
      assertEquals(
        found[n],
        Math.fround(Number(hookFunction(source, INTEGERS).call(values))),
        source,
      )
    );
  },
});

Deno.test("hookFunction() evaluates no more than && and || need", () => {
  const read: number[] = [];
  const reads = { ...READS, slope: (x: number) => read.push(x) };
  const code = "f32((h > 3 && slope(1) > 0) || h == 0 || slope(2) > 0)";

  const { call } = hookFunction(code, SCORE, reads);

  assertEquals([0, 1, 4].map((h) => call({ h })), [1, 1, 1]);
  assertEquals(read, [2, 1]);
});

Deno.test("hookFunction() names the variables that a hook names", () => {
  const { variables } = hookFunction("let d = i - j; s + f32(d)", SCORE);

  assertEquals(variables, ["i", "j", "s"]);
});

Deno.test("hookFunction() throws a HookError that points at the fault", () => {
  const error = assertThrows(() => hookFunction("s +\n  slopes(h)", SCORE), HookError);

  assertEquals([error.line, error.column], [2, 3]);
});
