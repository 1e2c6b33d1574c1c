import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { HOOK_FUNCTIONS } from "../../kernels/hooks/functions.ts";
import {
  checkInputName,
  HookError,
  type HookSignature,
  type HookType,
  parseHook,
} from "../../kernels/hooks/hook.ts";
import { EXPRESSIONS, SCORE } from "./hook_expressions.ts";

const MASK: HookSignature = { ...SCORE, name: "mask", result: "bool" };

function resultOf(result: HookType): HookSignature {
  return { ...SCORE, name: "hook", result };
}

/** The expression that a source becomes, where there is no let. */
function emitted(source: string, result: HookType = "f32"): string {
  return parseHook(source, resultOf(result)).code.replace(/^return (.*);$/, "$1");
}

function fault(source: string, signature: HookSignature = SCORE): HookError {
  return assertThrows(() => parseHook(source, signature), HookError);
}

/** Asserts what a source is refused for, and where. */
function assertFault(
  source: string,
  [line, column]: readonly [number, number],
  rule: string,
  signature: HookSignature = SCORE,
): void {
  const error = fault(source, signature);
  const [message] = error.message.split("\n");
  assertEquals(
    message,
    `Cannot compile the ${signature.name} as ${rule}: line ${line}, column ${column}`,
  );
  assertEquals([error.line, error.column, error.source], [line, column, source]);
}

Deno.test("HookError says what is wrong, where, and shows the line", () => {
  const error = fault("s + slopes(h)");

  assert(error instanceof TypeError);
  assertEquals(error.name, "HookError");
  assertEquals(
    error.message,
    'Cannot compile the score as slopes is not declared, the nearest is "slope": line 1, column 5\n' +
      "  s + slopes(h)\n" +
      "      ^",
  );
});

Deno.test("HookError counts characters of the user's lines and keeps tabs above the caret", () => {
  assertFault("let a = 1;\n\t\ts + q", [2, 7], 'q is not declared, the nearest is "s"');
  assertStringIncludes(fault("let a = 1;\n\t\ts + q").message, "\n  \t\ts + q\n  \t\t    ^");
  assertFault("/* 🙂 é */ q", [1, 11], 'q is not declared, the nearest is "s"');
  assertFault("s +\r\n\r q", [3, 2], 'q is not declared, the nearest is "s"');
  assertFault("s +\r\n  // end", [1, 4], "a value must come before the end");
});

Deno.test("HookError quotes a part of a long line", () => {
  const lines = fault(`s${" + s".repeat(60)} + q${" + s".repeat(60)}`).message.split("\n");

  assertEquals(lines[1].length, 102);
  assertEquals(lines[1][lines[2].indexOf("^")], "q");
});

Deno.test("parseHook() reads operators by WGSL's precedence", () => {
  assertEquals(emitted("s + s * s - s"), "(s + (s * s)) - s");
  assertEquals(emitted("s / s * s % s"), "((s / s) * s) % s");
  assertEquals(emitted("(s + s) * s"), "(s + s) * s");
  assertEquals(emitted("-s * s"), "-s * s");
  assertEquals(emitted("- - s"), "-(-s)");
  assertEquals(emitted("-(s + s)"), "-(s + s)");
  assertEquals(emitted("!m && i < j + 1", "bool"), "!m && (i < (j + 1i))");
  assertEquals(emitted("i << u < j - 1", "bool"), "(i << u) < (j - 1i)");
  assertEquals(emitted("i & j & h", "i32"), "(i & j) & h");
  assertEquals(emitted("m || i == j || i < j", "bool"), "(m || (i == j)) || (i < j)");
  assertEquals(emitted("~i & -j", "i32"), "~i & -j");
});

Deno.test("parseHook() asks for parentheses where WGSL does", () => {
  const mixed: [source: string, column: number, operators: string][] = [
    ["m && m || m", 8, "&& and ||"],
    ["m || m && m", 8, "|| and &&"],
    ["i & 1 == 0", 7, "& and =="],
    ["i == 1 & 1", 8, "== and &"],
    ["m & m && m", 7, "& and &&"],
    ["i & j | h", 7, "& and |"],
    ["i | j ^ h", 7, "| and ^"],
    ["i < j < h", 7, "< and <"],
    ["i < j == m", 7, "< and =="],
    ["i << u << u", 8, "<< and <<"],
    ["i + j << u", 7, "+ and <<"],
    ["i << u + u", 8, "<< and +"],
    ["i & j * h", 7, "& and *"],
  ];
  for (const [source, column, operators] of mixed) {
    assertFault(
      source,
      [1, column],
      `${operators} must be told apart by parentheses, as WGSL asks`,
      MASK,
    );
  }
});

Deno.test("parseHook() parenthesises what would read as a template", () => {
  assertEquals(emitted("select(s, f32(i < j), i > j)"), "select(s, f32(i < j), (i > j))");
  assertEquals(emitted("max(i << 1u, j >> 1u)", "i32"), "max((i << 1u), (j >> 1u))");
});

Deno.test("parseHook() writes literals with the suffix of their type", () => {
  assertEquals(emitted("s + 1"), "s + 1.0f");
  assertEquals(emitted("s + 1.50"), "s + 1.5f");
  assertEquals(emitted("s + 0.1"), "s + 0.1f");
  assertEquals(emitted("s + 1e-3"), "s + 0.001f");
  assertEquals(emitted("s + .5f"), "s + 0.5f");
  assertEquals(emitted("s + 2f"), "s + 2.0f");
  assertEquals(emitted("s + 1.e30"), "s + 1e+30f");
  assertEquals(emitted("s - -0.0"), "s - -0.0f");
  assertEquals(emitted("i + 1", "i32"), "i + 1i");
  assertEquals(emitted("i + 0x1F", "i32"), "i + 31i");
  assertEquals(emitted("u + 1", "u32"), "u + 1u");
  assertEquals(emitted("u + 0xffffffffu", "u32"), "u + 4294967295u");
  assertEquals(emitted("i + -2147483648", "i32"), "i + i32(-2147483648)");
  assertEquals(emitted("m == true", "bool"), "m == true");
});

Deno.test("parseHook() converts integer literals to any number and float literals to f32", () => {
  assertEquals(emitted("1"), "1.0f");
  assertEquals(emitted("1", "i32"), "1i");
  assertEquals(emitted("1", "u32"), "1u");
  assertEquals(emitted("max(1, s)"), "max(1.0f, s)");
  assertEquals(emitted("select(0, 1.5, m)"), "select(0.0f, 1.5f, m)");
  assertEquals(emitted("select(0, 1, m)", "i32"), "select(0i, 1i, m)");
  assertEquals(emitted("1 << u", "i32"), "1i << u");
  assertEquals(parseHook("let a = 1; let b = 1.0; let c = 1u; s", SCORE).code.split("\n"), [
    "let user_a = 1i;",
    "let user_b = 1.0f;",
    "let user_c = 1u;",
    "return s;",
  ]);
  assertEquals(
    parseHook("let a: f32 = 1; let b: u32 = 2; a", SCORE).code,
    "let user_a = 1.0f;\nlet user_b = 2u;\nreturn user_a;",
  );
});

Deno.test("parseHook() folds constants as WGSL does", () => {
  const folded: [source: string, result: HookType, expected: string][] = [
    ["7 / 2", "f32", "3.0f"],
    ["7 / 2.0", "f32", "3.5f"],
    ["-7 % 4", "i32", "-3i"],
    ["1e300 * 1e-300", "f32", "1.0f"],
    ["3000000000 - 2999999999", "i32", "1i"],
    ["2147483647i + 1i", "i32", "i32(-2147483648)"],
    ["1u - 2u", "u32", "4294967295u"],
    ["1 << 4", "i32", "16i"],
    ["-8 >> 1", "i32", "-4i"],
    ["~5", "i32", "-6i"],
    ["~0u", "u32", "4294967295u"],
    ["(6 & 3) | (8 ^ 1)", "i32", "11i"],
    ["1 < 2 && !false", "bool", "true"],
    ["(true & false) | (1.0 == 1)", "bool", "true"],
    ["i32(-1.7)", "i32", "-1i"],
    ["i32(1e20)", "i32", "2147483647i"],
    ["u32(-1i)", "u32", "4294967295u"],
    ["f32(true)", "f32", "1.0f"],
    ["bool(2)", "bool", "true"],
    ["select(1, 2, true)", "i32", "2i"],
    ["abs(-3)", "i32", "3i"],
    ["sign(-3)", "i32", "-1i"],
    ["clamp(5, 1, 3)", "u32", "3u"],
    ["round(2.5) + round(-1.5)", "f32", "0.0f"],
    ["fract(-0.25)", "f32", "0.75f"],
    ["smoothstep(0, 4, 1)", "f32", "0.15625f"],
    ["countOneBits(-1) + firstLeadingBit(-2) + firstTrailingBit(0)", "i32", "31i"],
    ["countLeadingZeros(0u) + countTrailingZeros(0u)", "u32", "64u"],
    ["reverseBits(1u)", "u32", "2147483648u"],
    ["firstLeadingBit(0u)", "u32", "4294967295u"],
    ["tanh(1e9) + sigmoid(0) + silu(0) + softplus(-1e9)", "f32", "1.5f"],
  ];
  for (const [source, result, expected] of folded) {
    assertEquals(emitted(source, result), expected, source);
  }
});

Deno.test("parseHook() names lets, inputs and functions of its own", () => {
  const hook = parseHook(
    "let d: i32 = i - j; // distance\n/* a /* nested */ comment */ return silu(s) * slope(u) + f32(table(1, d));",
    SCORE,
  );

  assertEquals(
    hook.code,
    "let user_d = i - j;\n" +
      "return (hook_silu(s) * hook_input_slope(i32(u))) + f32(hook_input_table(1i, user_d));",
  );
  assertEquals(hook.variables, ["i", "j", "s", "u"]);
  assertEquals(hook.inputs, ["slope", "table"]);
});

Deno.test("parseHook() calls only functions that there are", () => {
  const calls = EXPRESSIONS.flatMap(([source]) =>
    [...parseHook(source, SCORE).code.matchAll(/hook_(?!input_)\w+/g)].map(([name]) => name)
  );

  assertEquals([...new Set(calls)].sort(), [
    "hook_sigmoid",
    "hook_silu",
    "hook_softplus",
    "hook_tanh",
  ]);
  for (const name of calls) assertStringIncludes(HOOK_FUNCTIONS, `fn ${name}(x: f32) -> f32`);
});

Deno.test("parseHook() reads an input of rank 0 and a trailing comma", () => {
  const signature: HookSignature = { ...SCORE, inputs: { one: { type: "f32", rank: 0 } } };

  assertEquals(parseHook("max(one(), s,)", signature).code, "return max(hook_input_one(), s);");
  assertFault("one", [1, 1], "one is an input of rank 0, write one()", signature);
});

Deno.test("parseHook() knows no name that objects inherit", () => {
  for (const name of ["constructor", "toString", "hasOwnProperty"]) {
    assertStringIncludes(fault(name).message, `${name} is not declared`);
    assertStringIncludes(fault(`${name}(s)`).message, `${name} is not declared`);
  }
});

Deno.test("parseHook() refuses operands of a wrong type and says which cast helps", () => {
  const faults: [source: string, column: number, rule: string][] = [
    ["i + 0.5", 3, "+ takes operands of one type, i is i32 and 0.5 is a float: write f32(i)"],
    ["0.5 * i", 5, "* takes operands of one type, 0.5 is a float and i is i32: write f32(i)"],
    [
      "s * (i - j)",
      3,
      "* takes operands of one type, s is f32 and (i - j) is i32: write f32(i - j)",
    ],
    ["i + u", 3, "+ takes operands of one type, i is i32 and u is u32: write i32(u)"],
    ["i == m", 3, "== takes operands of one type, i is i32 and m is bool: write i32(m)"],
    ["max(1.5, i)", 1, "max takes operands of one type, 1.5 is a float and i is i32: write f32(i)"],
    ["clamp(s, 1, i)", 1, "clamp takes operands of one type, s is f32 and i is i32: write f32(i)"],
    ["m + 1", 1, "+ takes numbers, m is bool: write f32(m)"],
    ["s < m", 5, "< takes numbers, m is bool: write f32(m)"],
    ["-m", 2, "- takes f32 or i32, m is bool: write i32(m)"],
    ["-u", 2, "- takes f32 or i32, u is u32: write i32(u)"],
    ["!i", 2, "! takes bool, i is i32: write bool(i)"],
    ["~s", 2, "~ takes i32 or u32, s is f32: write i32(s)"],
    ["i & 1.5", 5, "& takes i32, u32 or bool, 1.5 is a float: write i32(1.5)"],
    ["m ^ m", 1, "^ takes i32 or u32, m is bool: write i32(m)"],
    ["i && m", 1, "&& takes bool, i is i32: write bool(i)"],
    ["s << 1", 1, "<< takes i32 or u32, s is f32: write i32(s)"],
    ["i << i", 6, "what << shifts by must be u32, i is i32: write u32(i)"],
    ["exp(i)", 5, "exp takes f32, i is i32: write f32(i)"],
    ["countOneBits(s)", 14, "countOneBits takes i32 or u32, s is f32: write i32(s)"],
    ["sign(u)", 6, "sign takes f32 or i32, u is u32: write i32(u)"],
    ["select(s, 0, i)", 14, "the condition of select must be bool, i is i32: write bool(i)"],
    ["slope(s)", 7, "an index of slope must be i32, s is f32: write i32(s)"],
    ["slope(1.5)", 7, "an index of slope must be i32, 1.5 is a float: write i32(1.5)"],
    ["i - j", 1, "the score must be f32, i - j is i32: write f32(i - j)"],
    ["i < j", 1, "the score must be f32, i < j is bool: write f32(i < j)"],
    ["let x: i32 = 1.5; s", 14, "x must be i32, 1.5 is a float: write i32(1.5)"],
    ["let x: f32 = i; s", 14, "x must be f32, i is i32: write f32(i)"],
  ];
  for (const [source, column, rule] of faults) assertFault(source, [1, column], rule);
  assertFault("s", [1, 1], "the mask must be bool, s is f32: write bool(s)", MASK);
});

Deno.test("parseHook() refuses values that a type does not hold", () => {
  const faults: [source: string, column: number, rule: string][] = [
    ["1e39", 1, "1e39 must be finite in f32"],
    ["s * 1e400", 5, "1e400 must be finite"],
    ["1e39f", 1, "1e39f must be finite in f32"],
    ["exp(1000)", 1, "exp(1000) must be finite"],
    ["exp(1000f)", 1, "exp(1000f) must be finite in f32"],
    ["sqrt(-1.0) + s", 1, "sqrt(-1.0) must be finite"],
    ["log(0)", 1, "log(0) must be finite"],
    ["f32(i + 3000000000)", 9, "3000000000 must be in the range of i32"],
    ["f32(4294967296u)", 5, "4294967296u must be in the range of u32"],
    ["f32(u + -1)", 9, "-1 must be in the range of u32"],
    ["f32(i32(3000000000))", 5, "i32(3000000000) must be in the range of i32"],
    ["99999999999999999999", 1, "99999999999999999999 must be an integer of 64 bits"],
    ["f32(1i << 31)", 5, "1i << 31 must be in the range of i32"],
    ["slope(4294967295u)", 7, "4294967295u must be in the range of i32"],
  ];
  for (const [source, column, rule] of faults) assertFault(source, [1, column], rule);
});

Deno.test("parseHook() refuses constants that an operation cannot take", () => {
  const faults: [source: string, column: number, rule: string][] = [
    ["s / 0", 5, "a divisor must not be 0"],
    ["s % 0.0", 5, "a divisor must not be 0"],
    ["f32(i / (2 - 2))", 9, "a divisor must not be 0"],
    ["f32(i % 0)", 9, "a divisor must not be 0"],
    ["f32(i << 32)", 10, "what << shifts by must be < 32"],
    ["f32(u >> 32u)", 10, "what >> shifts by must be < 32"],
    ["f32(1 << 64)", 10, "what << shifts by must be < 64"],
    ["clamp(s, 1, 0)", 10, "1 must be at most 0 in clamp"],
    ["smoothstep(1, 1, s)", 12, "1 must be less than 1 in smoothstep"],
  ];
  for (const [source, column, rule] of faults) assertFault(source, [1, column], rule);
  assertEquals(emitted("clamp(s, 1, 1)"), "clamp(s, 1.0f, 1.0f)");
});

Deno.test("parseHook() refuses names that it does not know, and uses that they do not allow", () => {
  const faults: [source: string, column: number, rule: string][] = [
    ["slopes(h)", 1, 'slopes is not declared, the nearest is "slope"'],
    ["s + hh", 5, 'hh is not declared, the nearest is "h"'],
    ["tanhh(s)", 1, 'tanhh is not declared, the nearest is "tanh"'],
    ["let alpha = s; alfa", 16, 'alfa is not declared, the nearest is "alpha"'],
    ["let a = b; let b = 1; s", 9, 'b is not declared, the nearest is "s"'],
    ["let a = a; s", 9, 'a is not declared, the nearest is "s"'],
    ["slope + 1", 1, "slope is an input of rank 1, write slope(i)"],
    ["table", 1, "table is an input of rank 2, write table(i0, i1)"],
    ["exp + 1", 1, "exp is a function and must be called, write exp(...)"],
    ["f32", 1, "f32 is a function and must be called, write f32(...)"],
    ["s(1)", 1, "s is a variable and cannot be called"],
    ["let a = 1; a(1)", 12, "a is a let and cannot be called"],
    ["slope(h, 1)", 1, "slope has rank 1 and is read as slope(i), the call has 2 indices"],
    ["table(h)", 1, "table has rank 2 and is read as table(i0, i1), the call has 1 index"],
    ["exp()", 1, "exp takes 1 argument, the call has 0"],
    ["select(s, s)", 1, "select takes 3 arguments, the call has 2"],
    ["f32(1, 2)", 1, "f32 takes 1 argument, the call has 2"],
  ];
  for (const [source, column, rule] of faults) assertFault(source, [1, column], rule);
});

Deno.test("parseHook() refuses lets that are reserved, known or misspelt", () => {
  const reserved = "must not be a reserved word of WGSL";
  const faults: [name: string, rule: string][] = [
    ...["do", "active", "target", "filter", "self", "fn", "true", "f32", "vec4f", "wgsl"].map(
      (word): [string, string] => [word, reserved],
    ),
    ["__a", "must not be _ or start with two underscores"],
    ["_", "must not be _ or start with two underscores"],
    ["max", "must not be a built-in function"],
    ["s", "must be new, there is a variable of that name"],
    ["slope", "must be new, there is an input of that name"],
    ["first", "must be new, there is a let of that name"],
  ];
  for (const [name, rule] of faults) {
    assertFault(`let first = 1;\nlet ${name} = 1; s`, [2, 5], `"${name}" names a let and ${rule}`);
  }
  for (const word of ["fn", "var", "loop", "array", "enum"]) { // not where it is used
    assertFault(`let ${word} = 2.0; s * ${word}`, [1, 5], `"${word}" names a let and ${reserved}`);
  }
});

Deno.test("parseHook() refuses what is not a let or an expression", () => {
  const select = "write select(otherwise, value, condition)";
  const faults: [source: string, column: number, rule: string][] = [
    ["var a = 1; s", 1, "hooks have no variables of their own, write let"],
    ["const a = 1; s", 1, "hooks have no const, write let"],
    ["if m { s }", 1, `hooks have no if, ${select}`],
    ["m ? s : 0", 3, `hooks have no ?, ${select}`],
    ["for (;;) {}", 1, "hooks have no loops"],
    ["fn f() {}", 1, "hooks cannot define functions, write let"],
    ["s = 1", 3, "hooks cannot assign, write let before a new name"],
    ["s += 1", 3, "hooks cannot assign, write let before a new name"],
    ["s++", 2, "hooks have no ++"],
    ["s--s", 2, "-- means nothing in a hook, write -(-x) or a - (-b)"],
    ["vec2f(s, s)", 1, "hooks work on scalars, there are no vectors"],
    ["mat2x2f(s, s)", 1, "hooks work on scalars, there are no matrices"],
    ["s.x", 2, "hooks work on scalars, there are no components"],
    ["s[0]", 2, "hooks work on scalars, inputs are read as name(index)"],
    ["array(s)", 1, "hooks work on scalars, there are no arrays"],
    ["f16(s)", 1, "hooks work on f32, there is no f16"],
    ["s mod 2", 3, "hooks have no mod, write %"],
    ["&s", 1, 'a value must stand before "&"'],
    ["s @ s", 3, "hooks have no attributes"],
    ["s # s", 3, '"#" has no meaning in a hook'],
    ["é", 1, '"é" has no meaning in a hook'],
    ["s s", 3, '"s" cannot follow a value'],
    ["s; s", 4, "its value must be its last statement, write let before the ones above"],
    ["s;; ", 3, "its value must be its last statement, write let before the ones above"],
    ["return return s", 8, "return must begin the last statement"],
    ["s + let", 5, "let must begin a statement before the value of the hook"],
    ["let a = 1;", 11, "its last statement must be an expression, the value of the hook"],
    ["// nothing", 1, "its last statement must be an expression, the value of the hook"],
    ["let = 1; s", 5, "a name must come after let"],
    ["let a 1; s", 7, '"=" and the value of a must come before "1"'],
    ["let a = 1", 10, '";" must come before the end'],
    ["let a = 1 s", 11, '"s" cannot follow a value'],
    ["let a: vec2f = 1; s", 8, "the type of a let must be f32, i32, u32 or bool"],
    ["(s", 1, "a parenthesis must be closed"],
    ["s)", 2, '")" cannot follow a value'],
    ["exp(s", 4, "a parenthesis must be closed"],
    ["exp(s s)", 7, '"s" cannot follow a value'],
    ["()", 2, 'a value must stand before ")"'],
    ["max(, s)", 5, 'a value must stand before ","'],
    ["s +", 4, "a value must come before the end"],
    ["s * * s", 5, 'a value must stand before "*"'],
    ["/* s", 1, "a comment must be closed by */"],
  ];
  for (const [source, column, rule] of faults) assertFault(source, [1, column], rule);
});

Deno.test("parseHook() refuses what is no number", () => {
  for (
    const number of ["007", "1.2.3", "1h", "0x", "0x1.8p3", "1e", "1e+", "1x", "1.5u", "0xfi1"]
  ) {
    assertFault(
      `s + ${number}`,
      [1, 5],
      `"${number}" must be a number such as 1, 1u, 0x1f, 1.5 or 1e-3`,
    );
  }
});

Deno.test("parseHook() limits length and depth", () => {
  const deep = "an expression must nest at most 200 deep, write parts of it as let";

  assertFault("", [1, 1], "it must not be empty");
  assertFault(" \n\t ", [1, 1], "it must not be empty");
  assertFault(
    "s".repeat(10_001),
    [1, 10_001],
    "it must have at most 10000 characters, it has 10001",
  );
  assertFault(`${"(".repeat(201)}s${")".repeat(201)}`, [1, 201], deep);
  assertFault(`${"-(".repeat(101)}s${")".repeat(101)}`, [1, 201], deep);
  assertFault(`s${"+s".repeat(200)}`, [1, 400], deep);
  assertFault(`${"exp(".repeat(201)}s${")".repeat(201)}`, [1, 804], deep);
  parseHook(`${"(".repeat(200)}s${")".repeat(200)}`, SCORE);
  parseHook(`s${"+s".repeat(199)}`, SCORE);
  parseHook(`${"-".repeat(1)}${"(-".repeat(98)}s${")".repeat(98)}`, SCORE);
});

Deno.test("parseHook() refuses what is not text", () => {
  const given = ((s: number) => s) as unknown as string;

  assertEquals(
    assertThrows(() => parseHook(given, SCORE), TypeError).message,
    "Cannot compile the score as it must be text: it is a function",
  );
});

Deno.test("checkInputName() accepts names that hooks can spell, and no others", () => {
  const refuse = (name: string): string =>
    assertThrows(() => checkInputName(name, ["s", "i"]), TypeError).message;
  const rule = (name: string, text: string): string =>
    `Cannot read an input in hooks as its name ${text}: name is "${name}"`;

  for (const name of ["slope", "_a", "Table2", "a__b", "doc_ids"]) checkInputName(name, ["s", "i"]);
  for (const name of ["", "2a", "a-b", "é", "a b", "a;b", "a\n"]) {
    assertEquals(refuse(name), rule(name, "must be letters, digits and underscores"));
  }
  for (const name of ["target", "Self", "let", "i32", "texture_2d"]) {
    assertEquals(refuse(name), rule(name, "must not be a reserved word of WGSL"));
  }
  assertEquals(refuse("__a"), rule("__a", "must not be _ or start with two underscores"));
  assertEquals(refuse("exp"), rule("exp", "must not be a built-in function"));
  assertEquals(refuse("silu"), rule("silu", "must not be a built-in function"));
  assertEquals(refuse("i"), rule("i", "must not be a variable of hooks"));
  assertEquals(refuse("hook_a"), rule("hook_a", "must not start with hook_"));
  assertEquals(refuse("user_a"), rule("user_a", "must not start with user_"));
});

/** Parses, and fails if anything but a HookError is thrown; returns whether it parsed. */
function survives(source: string): boolean {
  try {
    parseHook(source, SCORE);
    return true;
  } catch (error) {
    assert(error instanceof HookError, `${JSON.stringify(source)}: ${error}`);
    const line = source.split(/\r\n|[\n\r]/)[error.line - 1];
    assert(error.column >= 1 && error.column <= [...line].length + 1, JSON.stringify(source));
    return false;
  }
}

Deno.test("parseHook() throws nothing but HookError on random characters", () => {
  const random = new Random(1);
  const pick = (n: number): number => random.integer(0, n - 1);

  for (let round = 0; round < 5000; round++) {
    const codes = Array.from(
      { length: 1 + pick(40) },
      () => pick(8) === 0 ? pick(0x10000) : 9 + pick(118),
    );
    survives(String.fromCharCode(...codes));
  }
});

Deno.test("parseHook() throws nothing but HookError on random tokens", () => {
  const random = new Random(2);
  const tokens = [
    ..."s i u m slope(h) table( select( exp( f32( i32( u32( bool( max( abs( countOneBits( (".split(
      " ",
    ),
    ...") ) ) , ; + - * / % << >> < <= > >= == != & ^ | && || ! ~ = let a b return".split(" "),
    ..."0 1 2u 3i 0.5 1e38 4294967295 -2147483648 true false 40 0xff 1f // /* */ \n".split(" "),
  ];
  const pick = (n: number): number => random.integer(0, n - 1);
  let parsed = 0;

  for (let round = 0; round < 20_000; round++) {
    const words = Array.from({ length: 1 + pick(round % 12) }, () => tokens[pick(tokens.length)]);
    parsed += Number(survives(words.join(" ")));
  }
  assert(parsed > 100, `only ${parsed} of these are hooks`);
});
