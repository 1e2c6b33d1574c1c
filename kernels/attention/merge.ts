import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, reader, writer } from "../shared/rows.ts";

/** What the merge must know when it is compiled. */
export interface MergeConfig {
  /** Storage of the merged output. */
  readonly outElem: Elem;
  /** Dv. */
  readonly valueDim: number;
  /** Whether lse is written. */
  readonly lse: boolean;
}

/** Invocations of a workgroup. */
export const MERGE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  rows: "u32", // rows of one part: parts are stacked
  parts: "u32",
  partialFirst: "u32",
  outFirst: "u32", // the first row of the partial results has this number, negated, in the output
  lseFirst: "u32",
};

/**
 * Merges partial results over disjoint keys: weights e^{lse_p - lse}, lse = log Σ e^{lse_p}.
 *
 * One invocation per row and vec4 column. A part that saw no key has lse = -inf and weight 0; where
 * no part saw one, out = 0 and lse = -inf.
 */
export function mergeParts(config: MergeConfig): Program {
  const { outElem, valueDim, lse } = config;
  const partial = reader({ name: "partial", elem: "f32", width: valueDim }, "buffer");
  const out = writer({ name: "out", elem: outElem, width: valueDim });
  const partialLse: Binding = { name: "partialLse", access: "read", type: "array<f32>" };
  const merged: Binding = { name: "lse", access: "read_write", type: "array<f32>" };
  const bindings = [partial.binding, partialLse, out.binding, ...(lse ? [merged] : [])];
  const code = [
    constants({ THREADS: MERGE_THREADS, V4: Math.ceil(valueDim / 4) }),
    declare(bindings, PARAMS),
    partial.code,
    out.code,
    `fn store_lse(row: u32, value: f32) { ${lse ? "lse[row - params.lse_first] = value;" : ""} }`,
    MAIN,
  ].join("\n");
  return { label: "attention (merge)", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
const FLOOR = -1e30;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = at.x / V4;
  let c = at.x % V4;
  if row >= params.rows { return; }
  var m = FLOOR;
  for (var p = 0u; p < params.parts; p++) { m = max(m, partial_lse[p * params.rows + row]); }
  var l = 0.0;
  var sum = vec4f();
  for (var p = 0u; p < params.parts; p++) {
    let weight = exp(max(partial_lse[p * params.rows + row], 2.0 * FLOOR) - m);
    l += weight;
    sum = fma(vec4f(weight), load_partial(p * params.rows + row, c), sum);
  }
  store_out(row, c, select(sum / l, vec4f(), l == 0.0));
  if c == 0u {
    var bits = 0xff800000u;
    store_lse(row, select(m + log(l), bitcast<f32>(bits), l == 0.0));
  }
}
`;
