import { HOOK_FUNCTIONS } from "../../kernels/hooks/functions.ts";
import { type HookSignature, parseHook } from "../../kernels/hooks/hook.ts";

/** Values of the variables of a score. */
export interface Values {
  readonly s: number;
  readonly h: number;
  readonly i: number;
  readonly j: number;
  readonly u: number;
  readonly m: boolean;
}

/** A score with variables of every type and inputs of two ranks. */
export const SCORE: HookSignature = {
  name: "score",
  variables: { s: "f32", h: "i32", i: "i32", j: "i32", u: "u32", m: "bool" },
  inputs: { slope: { type: "f32", rank: 1 }, table: { type: "i32", rank: 2 } },
  result: "f32",
};

/** What the shader below reads from the inputs. */
const slope = (x: number): number => 0.5 * x + 0.25;
const table = (x: number, y: number): number => 10 * x + y;

/** log(1 + e^x). */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function sigmoid(x: number): number {
  return x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x));
}

function smoothstep(t: number): number {
  return t * t * (3 - 2 * t);
}

const clamp01 = (x: number): number => Math.min(Math.max(x, 0), 1);

/** A score, the same in JavaScript, and how far WGSL lets them differ where that is much. */
type Case = [source: string, expected: (values: Values) => number, tolerance?: number];

/** Scores with every operator and function. */
export const EXPRESSIONS: readonly Case[] = [
  ["s", ({ s }) => s],
  ["-s + - -s - -1.5", () => 1.5],
  ["1", () => 1],
  ["1e-45 * 1e45 + s * 0.0", () => 1],
  ["s + 3.4028234e38 * 1e-38", ({ s }) => s + 3.4028234],
  ["s + 1e-42 * s + -0.0", ({ s }) => s],
  ["s + slope(h) * f32(j - i)", ({ s, h, i, j }) => s + slope(h) * (j - i)],
  ["f32(table(h, i - j + 63))", ({ h, i, j }) => table(h, i - j + 63)],
  ["slope(u) + slope(3u)", ({ u }) => slope(u) + slope(3)],
  ["select(-1e30, s, i < j && m)", ({ s, i, j, m }) => i < j && m ? s : -1e30],
  ["select(f32(i), f32(j), i > j)", ({ i, j }) => i > j ? j : i],
  ["max(f32(i < j), f32(j > i))", ({ i, j }) => Number(i < j)],
  ["let d = abs(i - j);\nlet near: bool = d <= 4;\nreturn select(s - 0.5 * f32(d), s, near);", (
    { s, i, j },
  ) => Math.abs(i - j) <= 4 ? s : s - 0.5 * Math.abs(i - j)],
  ["30 * tanh(s / 30)", ({ s }) => 30 * Math.tanh(s / 30)],
  ["tanh(s * 1e-3) + tanh(s * 1e20)", ({ s }) => Math.tanh(s * 1e-3) + Math.sign(s)],
  ["sigmoid(s) + sigmoid(-s * 1e30)", ({ s }) => sigmoid(s) + Number(s < 0)],
  ["softplus(s)", ({ s }) => softplus(s)],
  ["softplus(s * 1e-3) + softplus(-1e30 + s)", ({ s }) => softplus(s * 1e-3)],
  ["silu(s)", ({ s }) => s * sigmoid(s)],
  ["silu(s * 1e29) * 1e-29", ({ s }) => Math.max(s, 0)],
  [
    "exp(-abs(s)) + exp2(s) + log(abs(s) + 2) + log2(abs(s) + 2)",
    ({ s }) =>
      Math.exp(-Math.abs(s)) + 2 ** s + Math.log(Math.abs(s) + 2) + Math.log2(Math.abs(s) + 2),
  ],
  [
    "sqrt(abs(s)) + inverseSqrt(abs(s)) + pow(abs(s), 1.5)",
    ({ s }) => Math.sqrt(Math.abs(s)) + 1 / Math.sqrt(Math.abs(s)) + Math.abs(s) ** 1.5,
  ],
  [
    "floor(s) + ceil(s) + trunc(s) + fract(s)",
    ({ s }) => Math.floor(s) + Math.ceil(s) + Math.trunc(s) + s - Math.floor(s),
  ],
  ["round(2.5) + round(3.5) + round(f32(i) + 0.5)", ({ i }) => 6 + i + (i % 2 === 0 ? 0 : 1)],
  [
    "sign(s) + f32(sign(i - j)) + saturate(s)",
    ({ s, i, j }) => Math.sign(s) + Math.sign(i - j) + clamp01(s),
  ],
  [
    "clamp(s, -1, 1) + f32(clamp(i, 2, 9)) + f32(min(u, 7))",
    ({ s, i, u }) => Math.min(Math.max(s, -1), 1) + Math.min(Math.max(i, 2), 9) + Math.min(u, 7),
  ],
  [
    "mix(s, 2, 0.25) + fma(s, s, 1) + step(0.5, s)",
    ({ s }) => 0.75 * s + 0.5 + s * s + 1 + Number(s >= 0.5),
  ],
  ["smoothstep(-2, 2, s)", ({ s }) => smoothstep(clamp01((s + 2) / 4))],
  ["degrees(s) + radians(s)", ({ s }) => s * 180 / Math.PI + s * Math.PI / 180],
  [
    "f32(i / 3) + f32(-i / 3) + f32(i % 3) + f32(-i % 3) + f32(u / 3) + f32(u % 3)",
    ({ i, u }) => i % 3 + (-i) % 3 + Math.trunc(u / 3) + u % 3,
  ],
  ["5.5 % 2 + s % 2", ({ s }) => 1.5 + s % 2],
  ["f32((i << 2) + (-i >> 1) + (1 << u))", ({ i, u }) => (i << 2) + (-i >> 1) + (1 << u)],
  ["f32((u >> 1) + (0x10u << 1))", ({ u }) => (u >>> 1) + 32],
  ["f32((i & 6) + (i | 9) + (i ^ j) + ~i)", ({ i, j }) => (i & 6) + (i | 9) + (i ^ j) + ~i],
  [
    "f32(m & (i < j)) + f32(m | (i == j))",
    ({ i, j, m }) => Number(m && i < j) + Number(m || i === j),
  ],
  [
    "f32(!m) + f32(m != (i >= j)) + f32(bool(i) || s > 1e3)",
    ({ s, i, j, m }) => Number(!m) + Number(m !== (i >= j)) + Number(i !== 0 || s > 1e3),
  ],
  [
    "f32(countOneBits(i) + countLeadingZeros(i) + countTrailingZeros(i))",
    ({ i }) => i.toString(2).replaceAll("0", "").length + Math.clz32(i) + 31 - Math.clz32(i & -i),
  ],
  [
    "f32(firstLeadingBit(u) - firstTrailingBit(u)) + f32(reverseBits(u) >> 24)",
    ({ u }) =>
      Math.clz32(u & -u) - Math.clz32(u) +
      parseInt([...u.toString(2).padStart(8, "0")].reverse().join(""), 2),
  ],
  [
    "f32(u32(s * s)) + f32(i32(s)) + f32(i32(u) - 9) + f32(u32(i))",
    ({ s, i, u }) => Math.trunc(s * s) + Math.trunc(s) + u - 9 + i,
  ],
  ["f32(-2147483648 + i + (2147483647 - i)) + f32(i32(4294967295u))", () => -2],
  ["let a = -1; let b = 7 / 2; let c = 7 / 2.0; f32(a + b) + c + s", ({ s }) => 5.5 + s],
  ["let i_ = i; /* a /* nested */ comment */ f32(i_) // and a line", ({ i }) => i],
  ["asin(s * 0.01) + acos(s * 0.01) + atan(s) - atan2(s, 1)", () => Math.PI / 2, 1e-3],
  [
    "sin(s) + cos(s) + tan(s * 0.1)",
    ({ s }) => Math.sin(s) + Math.cos(s) + Math.tan(s * 0.1),
    1e-3,
  ],
  [
    "sinh(s) + cosh(s) + asinh(s) + acosh(abs(s) + 1) + atanh(s * 0.01)",
    ({ s }) =>
      Math.sinh(s) + Math.cosh(s) + Math.asinh(s) + Math.acosh(Math.abs(s) + 1) +
      Math.atanh(s * 0.01),
  ],
];

/** A shader that evaluates all expressions on each of `values`, one row of `out` for each. */
export function expressionShader(): string {
  const hooks = EXPRESSIONS.map(([source], index) =>
    `fn hook_${index}(s: f32, h: i32, i: i32, j: i32, u: u32, m: bool) -> f32 {
${parseHook(source, SCORE).code}
}`
  );
  const calls = EXPRESSIONS.map((_, index) =>
    `  out[first + ${index}u] = hook_${index}(x.s, x.h, x.i, x.j, x.u, x.m != 0u);`
  );
  return /* wgsl */ `
struct Values { s: f32, h: i32, i: i32, j: i32, u: u32, m: u32 }
@group(0) @binding(0) var<storage, read> values: array<Values>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
${HOOK_FUNCTIONS}
fn hook_input_slope(x: i32) -> f32 { return 0.5 * f32(x) + 0.25; }
fn hook_input_table(x: i32, y: i32) -> i32 { return 10 * x + y; }
${hooks.join("\n")}

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) workgroup: vec3u) {
  let x = values[workgroup.x];
  let first = workgroup.x * ${EXPRESSIONS.length}u;
${calls.join("\n")}
}`;
}
