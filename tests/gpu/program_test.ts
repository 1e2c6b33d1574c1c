import { assertEquals, assertThrows } from "@std/assert";
import { constants, declare, paramBytes, type Program, writeParams } from "../../gpu/program.ts";

const PROGRAM: Program = {
  label: "a test",
  code: "",
  bindings: [],
  params: { first: "i32", count: "u32", scale: "f32" },
  subgroups: false,
};

Deno.test("constants() turns numbers into u32 and booleans into bool", () => {
  assertEquals(
    constants({ ROWS: 4, CAUSAL: true, CAPPED: false }),
    "const ROWS = 4u;\nconst CAUSAL = true;\nconst CAPPED = false;",
  );
});

Deno.test("constants() of nothing is empty", () => {
  assertEquals(constants({}), "");
});

Deno.test("declare() numbers the bindings and puts the parameters behind them", () => {
  const bindings = [
    { name: "x", access: "read", type: "array<vec4f>" },
    { name: "image", access: "texture", type: "texture_2d<f32>" },
    { name: "out", access: "read_write", type: "array<f32>" },
  ] as const;

  assertEquals(
    declare(bindings, { count: "u32", scale: "f32" }),
    `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var image: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
struct Params {
  count: u32,
  scale: f32,
}
@group(0) @binding(3) var<uniform> params: Params;`,
  );
});

Deno.test("paramBytes() rounds the block up to 16 bytes", () => {
  const four = { a: "u32", b: "u32", c: "u32", d: "u32" } as const;

  assertEquals(paramBytes({ ...PROGRAM, params: { a: "u32" } }), 16);
  assertEquals(paramBytes(PROGRAM), 16);
  assertEquals(paramBytes({ ...PROGRAM, params: four }), 16);
  assertEquals(paramBytes({ ...PROGRAM, params: { ...four, e: "f32" } }), 32);
});

Deno.test("writeParams() writes every type little-endian at its place", () => {
  const view = new DataView(new ArrayBuffer(16));

  writeParams(view, 0, PROGRAM, { scale: 0.5, count: 3, first: -2 });

  assertEquals(view.getInt32(0, true), -2);
  assertEquals(view.getUint32(4, true), 3);
  assertEquals(view.getFloat32(8, true), 0.5);
  assertEquals(view.getUint32(12, true), 0);
});

Deno.test("writeParams() starts at the offset and leaves the rest alone", () => {
  const view = new DataView(new ArrayBuffer(32));

  writeParams(view, 16, PROGRAM, { first: 1, count: 2, scale: 4 });

  assertEquals([...new Uint32Array(view.buffer)], [0, 0, 0, 0, 1, 2, 0x40800000, 0]);
});

Deno.test("writeParams() wraps a negative u32, as a first row before a binding needs", () => {
  const view = new DataView(new ArrayBuffer(16));

  writeParams(view, 0, PROGRAM, { first: 0, count: -1, scale: 0 });

  assertEquals(view.getUint32(4, true), 4294967295);
});

Deno.test("writeParams() ignores values that the program does not have", () => {
  const view = new DataView(new ArrayBuffer(16));

  writeParams(view, 0, PROGRAM, { first: 1, count: 2, scale: 0, other: 9 });

  assertEquals([...new Uint32Array(view.buffer)], [1, 2, 0, 0]);
});

Deno.test("writeParams() throws when a parameter is missing", () => {
  assertThrows(
    () => writeParams(new DataView(new ArrayBuffer(16)), 0, PROGRAM, { first: 1, scale: 2 }),
    TypeError,
    "Cannot launch a test as every parameter must be set: count is missing",
  );
});
