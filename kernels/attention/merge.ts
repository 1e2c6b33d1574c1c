import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { FLOORED } from "../scan/floor.ts";
import { type Elem, reader, writer } from "../shared/rows.ts";
import { sharesCode } from "./merge_shares.ts";
import type { WeightRule } from "./weights.ts";

/** What the merge must know when it is compiled. */
export interface MergeConfig {
  /** Storage of the merged output. */
  readonly outElem: Elem;
  /** Dv. */
  readonly valueDim: number;
  /** How scores became weights. */
  readonly rule: WeightRule;
  /** Whether lse, or what the weights have in its place, is written. */
  readonly lse: boolean;
}

/** Invocations of a workgroup. */
export const MERGE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  rows: "u32", // rows of one part: parts are stacked
  parts: "u32",
  partialFirst: "u32",
  outFirst: "u32", // the first row of the partial results has this number, negated, in the output
  auxFirst: "u32",
};

/**
 * Merges partial results over disjoint keys, the keys of each part behind those of the one before.
 *
 * One invocation per row and vec4 column. Softmax looks for the largest lse first and divides once;
 * other weights fold part after part by {@linkcode sharesCode}, a stick from the last part to the
 * first.
 */
export function mergeParts({ outElem, valueDim, rule, lse }: MergeConfig): Program {
  const partial = reader({ name: "partial", elem: "f32", width: valueDim }, "buffer");
  const out = writer({ name: "out", elem: outElem, width: valueDim });
  const partialAux: Binding = { name: "partialAux", access: "read", type: "array<f32>" };
  const merged: Binding = { name: "aux", access: "read_write", type: "array<f32>" };
  const bindings = [
    partial.binding,
    ...(rule === "plain" ? [] : [partialAux]),
    out.binding,
    ...(lse ? [merged] : []),
  ];
  const code = [
    constants({
      THREADS: MERGE_THREADS,
      V4: Math.ceil(valueDim / 4),
      LAST_FIRST: rule === "stick",
    }),
    declare(bindings, PARAMS),
    partial.code,
    out.code,
    `fn aux_of(row: u32) -> f32 { return ${rule === "plain" ? "0.0" : "partial_aux[row]"}; }`,
    `fn store_aux(row: u32, value: f32) { ${lse ? "aux[row - params.aux_first] = value;" : ""} }`,
    "struct Merged { out: vec4f, aux: f32 }",
    ...(rule === "softmax" ? [FLOORED, SOFTMAX] : [sharesCode(rule), FOLDED]),
    MAIN,
  ].join("\n");
  return { label: "attention (merge)", code, bindings, params: PARAMS, subgroups: false };
}

const SOFTMAX = /* wgsl */ `
fn merged(row: u32, c: u32) -> Merged {
  var m = FLOOR;
  for (var p = 0u; p < params.parts; p++) { m = max(m, aux_of(p * params.rows + row)); }
  var l = 0.0;
  var sum = vec4f();
  for (var p = 0u; p < params.parts; p++) {
    let weight = exp(max(aux_of(p * params.rows + row), MASKED) - m);
    l += weight;
    sum = fma(vec4f(weight), load_partial(p * params.rows + row, c), sum);
  }
  if l == 0.0 { return Merged(vec4f(), negative_infinity()); }
  return Merged(sum / l, m + log(l));
}`;

const FOLDED = /* wgsl */ `
fn merged(row: u32, c: u32) -> Merged {
  var all = Merged(vec4f(), NOTHING);
  for (var n = 0u; n < params.parts; n++) {
    let p = select(n, params.parts - 1u - n, LAST_FIRST) * params.rows + row;
    let x = shares(all.aux, aux_of(p));
    all = Merged(fma(vec4f(x.other), load_partial(p, c), x.one * all.out), x.aux);
  }
  return all;
}`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = at.x / V4;
  let c = at.x % V4;
  if row >= params.rows { return; }
  let end = merged(row, c);
  store_out(row, c, end.out);
  if c == 0u { store_aux(row, end.aux); }
}
`;
