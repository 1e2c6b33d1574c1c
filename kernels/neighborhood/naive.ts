import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Accessor, type Elem, elementReader, elementWriter } from "../shared/rows.ts";
import { WINDOW_PARAMS, windowCode, type WindowConfig } from "./window.ts";

/** What the baseline must know when it is compiled. */
export interface NaiveConfig extends WindowConfig {
  readonly elem: Elem;
  readonly headDim: number;
  readonly valueDim: number;
  readonly additional: boolean;
  readonly lse: boolean;
}

/** The three passes of the baseline. */
export interface NaiveNeighborhood {
  /** One thread per score. */
  readonly scores: Program;
  /** One thread per row. */
  readonly softmax: Program;
  /** One thread per output element. */
  readonly values: Program;
}

/** Invocations of a workgroup. */
export const NAIVE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  ...WINDOW_PARAMS,
  tokens: "u32",
  heads: "u32", // Hq
  kvHeads: "u32", // Hkv
  group: "u32", // Hq / Hkv
  volume: "u32", // keys of a window
  additionalLen: "u32", // E
  qScale: "f32", // scale · log2 e
  qFirst: "u32",
  kFirst: "u32",
  vFirst: "u32",
  outFirst: "u32",
  additionalKeysFirst: "u32",
  additionalValuesFirst: "u32",
};

/**
 * The baseline that speed-ups are measured against, as the first kernels of NATTEN had it:
 * materialise the scores [B, T, Hq, window + E], normalise each row, multiply by the values; one
 * thread per element, scalar loads, no tiles, no workgroup memory.
 */
export function naiveNeighborhood(config: NaiveConfig): NaiveNeighborhood {
  const { elem, headDim, valueDim, additional, lse } = config;
  const reads = (name: string, width: number): Accessor => elementReader({ name, elem, width });
  const scores: Binding = { name: "scores", access: "read_write", type: "array<f32>" };
  const lseOut: Binding = { name: "lse", access: "read_write", type: "array<f32>" };
  const program = (pass: string, accessors: Accessor[], own: Binding[], main: string): Program => {
    const bindings = [...own, ...accessors.map(({ binding }) => binding)];
    return {
      label: `neighborhood attention (naive ${pass})`,
      code: [
        constants({ THREADS: NAIVE_THREADS, HEAD_DIM: headDim, VALUE_DIM: valueDim }),
        declare(bindings, PARAMS),
        windowCode(config),
        COMMON,
        ...accessors.map(({ code }) => code),
        main,
      ].join("\n"),
      bindings,
      params: PARAMS,
      subgroups: false,
    };
  };
  const keys = additional ? [reads("additionalKeys", headDim)] : [];
  const values = additional ? [reads("additionalValues", valueDim)] : [];
  const out = elementWriter({ name: "out", elem, width: valueDim });
  return {
    scores: program(
      "scores",
      [reads("q", headDim), reads("k", headDim), ...keys],
      [scores],
      [elementOf("key", "k", "additional_keys", additional), SCORES].join("\n"),
    ),
    softmax: program(
      "softmax",
      [],
      lse ? [scores, lseOut] : [scores],
      SOFTMAX.replace("STORE_LSE", lse ? "lse[row] = LN2 * (m + log2(l));" : ""),
    ),
    values: program(
      "values",
      [reads("v", valueDim), ...values, out],
      [scores],
      [elementOf("value", "v", "additional_values", additional), VALUES].join("\n"),
    ),
  };
}

/** `<name>_of(key, d)`: an element of a neighborhood's row, or of an additional one. */
function elementOf(name: string, own: string, other: string, additional: boolean): string {
  const fromOther = `if key.additional { return element_${other}(key.row, d); }`;
  return `fn ${name}_of(key: Key, d: u32) -> f32 {
  ${additional ? fromOther : ""}
  return element_${own}(key.row, d);
}`;
}

const COMMON = /* wgsl */ `
const LN2 = 0.6931471805599453;
const MASKED = -2e30;

struct Key { row: u32, additional: bool, visible: bool }

/// The row of a token in a batch entry and head.
fn row_of(z: u32, token: u32) -> u32 {
  return (z / params.heads * params.tokens + token) * params.heads + z % params.heads;
}
fn columns() -> u32 { return params.volume + params.additional_len; }

/// The key in a column of the scores of a row.
fn key_at(row: u32, column: u32) -> Key {
  let b = row / params.heads / params.tokens;
  let kv_head = row % params.heads / params.group;
  if column >= params.volume {
    let e = column - params.volume;
    return Key((b * params.additional_len + e) * params.kv_heads + kv_head, true, true);
  }
  let at = cell(row / params.heads % params.tokens, lengths());
  let residue = at % dilation();
  let places = places_of(residue);
  let first = window_first(at / dilation(), places);
  let last = window_last(at / dilation(), first);
  let place = first + cell(column, window_size());
  let token = token_of(min(place, last), residue);
  return Key((b * params.tokens + token) * params.kv_heads + kv_head, false, all(place <= last));
}
`;

const SCORES = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let column = at.x;
  if column >= columns() { return; }
  let row = row_of(at.z, at.y);
  let key = key_at(row, column);
  var s = 0.0;
  for (var d = 0u; d < HEAD_DIM; d++) { s += params.q_scale * element_q(row, d) * key_of(key, d); }
  scores[row * columns() + column] = select(MASKED, s, key.visible);
}
`;

const SOFTMAX = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x >= params.tokens { return; }
  let row = row_of(at.y, at.x);
  let first = row * columns();
  var m = MASKED;
  for (var c = 0u; c < columns(); c++) { m = max(m, scores[first + c]); }
  var l = 0.0;
  for (var c = 0u; c < columns(); c++) { l += exp2(scores[first + c] - m); }
  for (var c = 0u; c < columns(); c++) { scores[first + c] = exp2(scores[first + c] - m) / l; }
  STORE_LSE
}
`;

const VALUES = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let d = at.x;
  if d >= VALUE_DIM { return; }
  let row = row_of(at.z, at.y);
  var sum = 0.0;
  for (var c = 0u; c < columns(); c++) {
    sum += scores[row * columns() + c] * value_of(key_at(row, c), d);
  }
  put_out(row, d, sum);
}
`;
