import type { Binding, ParamType } from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";
import type { AttentionConfig } from "./config.ts";
import { HOOK_FUNCTIONS } from "../hooks/functions.ts";
import { FLOORED } from "../scan/floor.ts";
import { hooksCode } from "./hooks.ts";
import { FINISH, weightCode } from "./weights.ts";

/** What every schedule of attention shares: bindings beside q, k, v, out, and WGSL functions. */
export interface Description {
  readonly constants: Readonly<Record<string, boolean>>;
  readonly bindings: readonly Binding[];
  /** Run-time parameters beside those of all kernels. */
  readonly params: Readonly<Record<string, ParamType>>;
  readonly code: string;
}

/** What the mathematics of scores and weights depends on. */
export type DescribedConfig = Pick<
  AttentionConfig,
  "softcap" | "bias" | "sinks" | "lse" | "hooks" | "weight"
>;

/** Whether scores are natural logarithms until they become weights: hooks see them so. */
export function isNatural({ hooks, weight }: Pick<AttentionConfig, "hooks" | "weight">): boolean {
  return hooks.scores.length > 0 || !weight.binary;
}

/**
 * The mathematics of attention as WGSL functions that every schedule calls.
 *
 * Scores are in base 2: q carries scale · log2 e, weights are `exp2`; or natural where a hook or the
 * weights ask for it (q carries scale, and softmax multiplies by log2 e behind the hook). A masked score is MASKED and
 * the running maximum starts at FLOOR, twice as high, so that `exp2(MASKED - m)` is exactly 0 in
 * every row, also in one that sees no key; logits below FLOOR count as masked. No infinity enters
 * the arithmetic (WGSL compilers may assume that there is none).
 */
export function describe(config: DescribedConfig): Description {
  const { softcap, bias, sinks, lse, hooks, weight } = config;
  const natural = isNatural(config);
  const own = hooksCode(hooks);
  return {
    constants: { SOFTCAP: softcap },
    params: own.params,
    bindings: [
      ...own.bindings,
      ...(bias ? [resource("bias", "read", WORDS[bias])] : []),
      ...(sinks ? [resource("sinks", "read", WORDS[sinks])] : []),
      ...(lse ? [resource("lse", "read_write", "array<f32>")] : []),
    ],
    code: [
      ROW_NUMBERS,
      COMMON,
      natural || own.code !== "" ? HOOK_FUNCTIONS : "",
      own.code,
      bias ? scalarOf("bias", bias) + SHAPED_WITH_BIAS(natural ? "" : "LOG2E * ") : SHAPED,
      weightCode(weight),
      sinks ? scalarOf("sinks", sinks) + FINISH_WITH_SINK : FINISH[weight.rule],
      scoreCode(config),
      `fn store_lse(row: u32, value: f32) { ${lse ? "lse[row - params.lse_first] = value;" : ""} }`,
    ].join("\n"),
  };
}

/** What reads element `at` of a tensor: `<name>_of(at)`. */
export function elementsOf(name: string, elem: Elem): { binding: Binding; code: string } {
  return { binding: resource(name, "read", WORDS[elem]), code: scalarOf(name, elem) };
}

function resource(name: string, access: "read" | "read_write", type: string): Binding {
  return { name, access, type };
}

const WORDS = { f32: "array<f32>", f16: "array<u32>" };

function scalarOf(name: string, elem: Elem): string {
  const word = elem === "f32" ? `${name}[at]` : `unpack2x16float(${name}[at >> 1u])[at & 1u]`;
  return `fn ${name}_of(at: u32) -> f32 { return ${word}; }`;
}

/** Numbers of rows: all axes of a tensor but the last, flattened. */
export const ROW_NUMBERS = /* wgsl */ `
const ADDITIONAL = 0x80000000u; // rows of additional keys and values have this bit

fn batch_of(z: u32) -> u32 { return params.b0 + z / params.parts; }
fn part_of(z: u32) -> u32 { return params.part0 + z % params.parts; }

fn q_row(b: u32, t: u32, h: u32) -> u32 { return (b * params.q_len + t) * params.heads + h; }
fn kv_row(b: u32, j: u32, h: u32) -> u32 { return (b * params.kv_len + j) * params.kv_heads + h; }
fn out_row(part: u32, b: u32, t: u32, h: u32) -> u32 {
  return part * params.part_rows + q_row(b, t, h);
}
`;

const COMMON: string = /* wgsl */ `
const LOG2E = 1.4426950408889634;
const LN2 = 0.6931471805599453;
${FLOORED}

/// tanh by exp2: exact at both ends, where built-ins of some drivers overflow.
fn tanh_of(x: f32) -> f32 {
  let e = exp2(-2.0 * LOG2E * abs(x));
  return sign(x) * (1.0 - e) / (1.0 + e);
}
`;

const SHAPED = /* wgsl */ `
/// Score of a query and a key from their scaled product.
fn shaped(x: f32, b: u32, h: u32, t: u32, j: u32) -> f32 {
  if SOFTCAP { return params.cap * tanh_of(x); }
  return x;
}`;

const SHAPED_WITH_BIAS = (unit: string): string => /* wgsl */ `
/// Score of a query and a key from their scaled product, softcap before bias.
fn shaped(x: f32, b: u32, h: u32, t: u32, j: u32) -> f32 {
  let at = b * params.bias_b + h * params.bias_h + t * params.bias_t + j - params.bias_first;
  let added = max(${unit}bias_of(at), MASKED);
  if SOFTCAP { return params.cap * tanh_of(x) + added; }
  return x + added;
}`;

function scoreCode(config: DescribedConfig): string {
  const { bias, hooks: { scores, masks }, weight } = config;
  const place = "i32(b), i32(h), i32(query.token), i32(key_token(tile, j))";
  const shaped = "shaped(x, b, h, query.token, key_token(tile, j))";
  const hooked = scores.length === 0 ? "given" : `max(hook_score(given, ${place}), MASKED)`;
  const scaled = isNatural(config) && weight.binary ? `LOG2E * ${hooked}` : hooked;
  // no hook shows what the bias hides
  const kept = bias && scores.length > 0 ? `select(${scaled}, MASKED, given < FLOOR)` : scaled;
  const seen = masks.length === 0 ? "" : ` && hook_mask(${place})`;
  return /* wgsl */ `
/// Score of a query and the j-th key of a tile; masked says whether the tile hides any from any.
fn score(x: f32, masked: bool, b: u32, h: u32, query: Query, tile: KeyTile, j: u32) -> f32 {
  let given = ${shaped};
  let s = ${kept};
  if !(MASKS && masked) { return s; }
  return select(MASKED, s, visible(query, tile, j)${seen});
}`;
}

const FINISH_WITH_SINK = /* wgsl */ `
/// What divides the accumulator (as a factor), and the natural lse; the sink joins in part 0.
fn finish(m: f32, l: f32, h: u32, part: u32) -> vec2f {
  let sink = select(MASKED, max(LOG2E * sinks_of(h), MASKED), part == 0u);
  let m_end = max(m, sink);
  let l_end = l * exp2(m - m_end) + exp2(sink - m_end);
  if l_end == 0.0 { return vec2f(0.0, negative_infinity()); }
  return vec2f(exp2(m - m_end) / l_end, LN2 * (m_end + log2(l_end)));
}`;
