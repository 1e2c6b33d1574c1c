import { assertEquals, assertThrows } from "@std/assert";
import { type Constants, unroll } from "../../kernels/unroll.ts";

function assertRefused(code: string, message: string, constants: Constants = {}): void {
  const error = assertThrows(() => unroll(code, constants), SyntaxError);
  assertEquals(error.message, message);
}

Deno.test("unroll() leaves text without marks alone", () => {
  const code = "for (var i = 0u; i < 4u; i++) { s += x[i]; } // @registers are elsewhere";

  assertEquals(unroll(code, {}), code);
});

Deno.test("unroll() repeats a body with literals for the variable", () => {
  assertEquals(
    unroll("a;\n@unroll for (var i = 0u; i < 3u; i++) { s += x[i]; }\nb;", {}),
    "a;\ns += x[0u];\ns += x[1u];\ns += x[2u];\nb;",
  );
});

Deno.test("unroll() replaces whole words only", () => {
  assertEquals(
    unroll("@unroll for (var i = 0u; i < 1u; i++) { i_x = f(i) + xi + p.x; }", {}),
    "i_x = f(0u) + xi + p.x;",
  );
});

Deno.test("unroll() drops a loop that never runs", () => {
  assertEquals(unroll("a; @unroll for (var i = 2u; i < 2u; i++) { s += i; } b;", {}), "a;  b;");
});

Deno.test("unroll() nests loops, and inner bounds may use the outer variable", () => {
  assertEquals(
    unroll(
      "@unroll for (var r = 0u; r < 2u; r++) { @unroll for (var c = r; c < 2u; c++) { f(r, c); } }",
      {},
    ),
    "f(0u, 0u);\nf(0u, 1u);\nf(1u, 1u);",
  );
});

Deno.test("unroll() expands loops one after the other", () => {
  assertEquals(
    unroll(
      "@unroll for (var i = 0u; i < 2u; i++) { f(i); } @unroll for (var i = 0u; i < 1u; i++) { g(i); }",
      {},
    ),
    "f(0u);\nf(1u); g(0u);",
  );
});

Deno.test("unroll() keeps a plain loop inside an unrolled one", () => {
  assertEquals(
    unroll("@unroll for (var i = 0u; i < 1u; i++) { for (; j < n; j++) { f(i, j); } }", {}),
    "for (; j < n; j++) { f(0u, j); }",
  );
});

Deno.test("unroll() steps by a constant expression", () => {
  assertEquals(
    unroll("@unroll for (var i = 1u; i < 9u; i += 2 * STEP) { f(i); }", { STEP: 2 }),
    "f(1u);\nf(5u);",
  );
});

Deno.test("unroll() takes bounds from constants with + - * / % and parentheses", () => {
  const constants = { ROWS: 8, COLS: 3, TWICE: true };

  assertEquals(
    unroll(
      "@unroll for (var i = ROWS % COLS; i < (ROWS - 2u) / 4 + COLS; i++) { f(i); }",
      constants,
    ),
    "f(2u);\nf(3u);",
  );
  assertEquals(unroll("@unroll for (var i = 0u; i < TWICE; i++) { f(i); }", constants), "f(0u);");
});

Deno.test("unroll() gives bodies that declare something braces", () => {
  assertEquals(
    unroll("@unroll for (var i = 0u; i < 2u; i++) { let x = f(i); s += x; }", {}),
    "{ let x = f(0u); s += x; }\n{ let x = f(1u); s += x; }",
  );
  assertEquals(
    unroll("@unroll for (var i = 0u; i < 1u; i++) { @registers var x: array<f32, 2>; }", {}),
    "{ var x_0 = f32(); var x_1 = f32(); }",
  );
});

Deno.test("unroll() drops comments inside bodies, braces in them too", () => {
  assertEquals(
    unroll("@unroll for (var i = 0u; i < 2u; i++) {\n  // let } of i\n  f(i); // s_i }\n}", {}),
    "f(0u);\nf(1u);",
  );
});

Deno.test("unroll() accepts a head on several lines", () => {
  assertEquals(
    unroll("@unroll\nfor ( var i = 0u ;\n  i < 2u; i++ )\n{ f(i); }", {}),
    "f(0u);\nf(1u);",
  );
});

Deno.test("unroll() declares one zeroed variable per register", () => {
  assertEquals(
    unroll("@registers var m: array<f32, ROWS>;", { ROWS: 3 }),
    "var m_0 = f32(); var m_1 = f32(); var m_2 = f32();",
  );
});

Deno.test("unroll() declares registers in two dimensions", () => {
  assertEquals(
    unroll("@registers var acc: array<array<vec4f, COLS>, ROWS>;", { COLS: 2, ROWS: 2 }),
    "var acc_0_0 = vec4f(); var acc_0_1 = vec4f(); var acc_1_0 = vec4f(); var acc_1_1 = vec4f();",
  );
});

Deno.test("unroll() names registers by constant expressions", () => {
  assertEquals(
    unroll("@registers var m: array<f32, 4>;\nm[ROWS - 1] = m[2u * 1u + 0] + mm[7] + m;", {
      ROWS: 4,
    }),
    "var m_0 = f32(); var m_1 = f32(); var m_2 = f32(); var m_3 = f32();\nm_3 = m_2 + mm[7] + m;",
  );
});

Deno.test("unroll() keeps an index behind the registers as a component", () => {
  assertEquals(
    unroll("@registers var q: array<vec4f, 1>;\nq[0][1u] += q[0].x;", {}),
    "var q_0 = vec4f();\nq_0[1] += q_0.x;",
  );
  assertEquals(
    unroll("@registers var s: array<array<vec4f, 1>, 1>;\ns[0][0][3] = 1.0;", {}),
    "var s_0_0 = vec4f();\ns_0_0[3] = 1.0;",
  );
});

Deno.test("unroll() indexes registers by the variables of unrolled loops", () => {
  const code = `@registers var s: array<array<f32, COLS>, ROWS>;
@unroll for (var r = 0u; r < ROWS; r++) {
  @unroll for (var c = 0u; c < COLS; c++) { s[r][c] = f(ROWS - 1 - r); }
}`;

  assertEquals(
    unroll(code, { ROWS: 2, COLS: 2 }),
    `var s_0_0 = f32(); var s_0_1 = f32(); var s_1_0 = f32(); var s_1_1 = f32();
s_0_0 = f(ROWS - 1 - 0u);
s_0_1 = f(ROWS - 1 - 0u);
s_1_0 = f(ROWS - 1 - 1u);
s_1_1 = f(ROWS - 1 - 1u);`,
  );
});

Deno.test("unroll() throws when a loop is not in the one form", () => {
  assertRefused(
    "a;\n\n@unroll for (let i = 0; i < 4; i++) {}",
    'Cannot unroll line 3 as a loop must read "@unroll for (var i = 0u; i < N; i++) {": current text is "@unroll for (let i = 0; i < 4; i++) {}"',
  );
  assertRefused(
    "@unroll for (var i = 4u; i > 0u; i--) { f(i); }",
    'Cannot unroll line 1 as a loop must read "@unroll for (var i = 0u; i < N; i++) {": current text is "@unroll for (var i = 4u; i > 0u; i--) { f(i); }"',
  );
});

Deno.test("unroll() throws when a loop uses several variables", () => {
  assertRefused(
    "\n@unroll for (var i = 0u; j < 4u; i++) {}",
    "Cannot unroll line 2 as one variable must be declared, tested and stepped: current variables are i, j, i",
  );
  assertRefused(
    "@unroll for (var i = 0u; i < 4u; k += 2u) {}",
    "Cannot unroll line 1 as one variable must be declared, tested and stepped: current variables are i, i, k",
  );
});

Deno.test("unroll() throws when a step is not positive", () => {
  assertRefused(
    "\n@unroll for (var i = 0u; i < 4u; i += STEP - 2) {}",
    "Cannot unroll line 2 as a step must be >= 1: step is 0",
    { STEP: 2 },
  );
});

Deno.test("unroll() throws when a brace is not closed", () => {
  assertRefused(
    "a;\n@unroll for (var i = 0u; i < 4u; i++) { if x { f(i); } // }",
    "Cannot unroll line 2 as its brace must be closed: the text ends first",
  );
});

Deno.test("unroll() names the line of an inner loop", () => {
  assertRefused(
    "a;\n@unroll for (var r = 0u; r < 2u; r++) {\n  // one\n  f(r);\n  @unroll for (var c = 0u; c < N; c++) {}\n}",
    'Cannot evaluate "N" on line 5 as it must be a constant expression: "N" is unknown',
  );
});

Deno.test("unroll() throws when a bound is not a constant expression", () => {
  assertRefused(
    "\n@unroll for (var i = 0u; i < (2 + 1; i++) {}",
    'Cannot evaluate "(2 + 1" on line 2 as it must be a constant expression: a parenthesis is open',
  );
  assertRefused(
    "@unroll for (var i = 0u; i < 2 *; i++) {}",
    'Cannot evaluate "2 *" on line 1 as it must be a constant expression: it ends too early',
  );
  assertRefused(
    "@unroll for (var i = 0u; i < 2 3; i++) {}",
    'Cannot evaluate "2 3" on line 1 as it must be a constant expression: "3" is unexpected',
  );
});

Deno.test("unroll() throws when registers are not an array", () => {
  assertRefused(
    "\n\n@registers var x: vec4f;",
    "Cannot expand line 3 as registers must be an array: @registers var x: vec4f;",
  );
});

Deno.test("unroll() throws when an index names no register", () => {
  assertRefused(
    "@registers var m: array<f32, 4>;\nm[4] = 1.0;",
    'Cannot expand "m[4]" on line 2 as m has 4 registers',
  );
  assertRefused(
    "@registers var s: array<array<f32, 3>, 2>;\n\ns[1] = s[2][0];",
    'Cannot expand "s[1]" on line 3 as s has 2 x 3 registers',
  );
});

Deno.test("unroll() throws when an index is not constant", () => {
  assertRefused(
    "@registers var m: array<f32, 4>;\nm[lane] = 1.0;",
    'Cannot evaluate "lane" on line 2 as it must be a constant expression: "lane" is unknown',
  );
});
