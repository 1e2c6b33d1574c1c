import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, type InputSource, reader, type Rows, writer } from "../shared/rows.ts";
import { MERGE_THREADS } from "./merge.ts";
import { sharesCode } from "./merge_shares.ts";
import type { WeightRule } from "./weights.ts";

/** Where the coefficient of a result comes from: nowhere (it is 1), a parameter, or a tensor. */
export type CoefficientSource = "none" | "number" | "rows" | "heads";

/** One of the two results that are merged. */
export interface MergeSide {
  /** Storage of its output. */
  readonly elem: Elem;
  /** Where that is read. */
  readonly source: InputSource;
  /** What multiplies it. */
  readonly coefficient: CoefficientSource;
}

/** What the merge of two results must know when it is compiled. */
export interface MergePairConfig {
  readonly one: MergeSide;
  readonly other: MergeSide;
  /** Storage of the merged output. */
  readonly outElem: Elem;
  /** Dv. */
  readonly valueDim: number;
  /** How scores became weights. */
  readonly rule: WeightRule;
  /** Whether coefficients multiply sums of weights, `softmax` and `sum` only, rather than shares. */
  readonly renormalize: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // rows of this launch
  row1: "u32",
  second: "u32", // 0 where there is no second result
  heads: "u32",
  oneFirst: "u32", // first row of each bound range
  otherFirst: "u32",
  outFirst: "u32",
  auxFirst: "u32",
  oneTimes: "f32", // coefficients that are numbers
  otherTimes: "f32",
};

/**
 * Merges two results over disjoint keys, as `shares` of {@linkcode sharesCode} and coefficients say.
 *
 * One invocation per row and vec4 column. An output that counts 0 times is not read. A coefficient
 * multiplies the share of its result, or, renormalized, what the shares are made of: e^lse of softmax
 * and the sum of the weights.
 */
export function mergePair(config: MergePairConfig): Program {
  const { one, other, outElem, valueDim, rule, renormalize } = config;
  const rows = (name: string, elem: Elem): Rows => ({ name, elem, width: valueDim });
  const accessors = [
    reader(rows("one", one.elem), one.source),
    reader(rows("other", other.elem), other.source),
    writer(rows("out", outElem)),
  ];
  const numbers = (name: string, access: Binding["access"]): Binding => ({
    ...{ name, access, type: "array<f32>" },
  });
  const tensors = Object.entries({ one, other })
    .filter(([, { coefficient }]) => coefficient === "rows" || coefficient === "heads");
  const bindings = [
    ...accessors.map(({ binding }) => binding),
    ...(rule === "plain" ? [] : [numbers("oneAux", "read"), numbers("otherAux", "read")]),
    ...(rule === "plain" ? [] : [numbers("aux", "read_write")]),
    ...tensors.map(([name]) => numbers(`${name}Coefficients`, "read")),
  ];
  const code = [
    constants({ THREADS: MERGE_THREADS, V4: Math.ceil(valueDim / 4) }),
    declare(bindings, PARAMS),
    ...accessors.map((accessor) => accessor.code),
    ...Object.entries({ one, other }).map(([name, { coefficient }]) =>
      `fn ${name}_coefficient(row: u32) -> f32 { return ${COEFFICIENTS[coefficient](name)}; }`
    ),
    rule === "plain" ? NO_AUX : AUX,
    sharesCode(rule),
    renormalize && (rule === "softmax" || rule === "sum") ? RENORMALIZED[rule] : MULTIPLIED,
    MAIN,
  ].join("\n");
  return { label: "merge of attention", code, bindings, params: PARAMS, subgroups: false };
}

const COEFFICIENTS: Readonly<Record<CoefficientSource, (name: string) => string>> = {
  none: () => "1.0",
  number: (name) => `params.${name}_times`,
  rows: (name) => `${name}_coefficients[row - params.aux_first]`,
  heads: (name) => `${name}_coefficients[row % params.heads]`,
};

const AUX = /* wgsl */ `
fn aux_of_one(row: u32) -> f32 { return one_aux[row - params.aux_first]; }
fn aux_of_other(row: u32) -> f32 { return other_aux[row - params.aux_first]; }
fn store_aux(row: u32, value: f32) { aux[row - params.aux_first] = value; }`;

const NO_AUX = /* wgsl */ `
fn aux_of_one(row: u32) -> f32 { return NOTHING; }
fn aux_of_other(row: u32) -> f32 { return NOTHING; }
fn store_aux(row: u32, value: f32) {}`;

/** A coefficient multiplies the share of its result. */
const MULTIPLIED = /* wgsl */ `
fn times_aux(aux: f32, c: f32) -> f32 { return aux; }
fn times_share(share: f32, c: f32) -> f32 { return c * share; }`;

/** A coefficient multiplies the weights that the shares are made of; a negative one counts as 0. */
const RENORMALIZED: Readonly<Record<"softmax" | "sum", string>> = {
  softmax: /* wgsl */ `
fn times_aux(lse: f32, c: f32) -> f32 { return select(NOTHING, max(lse, MASKED) + log(c), c > 0.0); }
fn times_share(share: f32, c: f32) -> f32 { return share; }`,
  sum: /* wgsl */ `
fn times_aux(l: f32, c: f32) -> f32 { return max(c, 0.0) * l; }
fn times_share(share: f32, c: f32) -> f32 { return share; }`,
};

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = params.row0 + at.x / V4;
  let c = at.x % V4;
  if row >= params.row1 { return; }
  let second = params.second == 1u;
  let c_one = one_coefficient(row);
  let c_other = other_coefficient(row);
  let x = shares(
    times_aux(aux_of_one(row), c_one),
    select(NOTHING, times_aux(aux_of_other(row), c_other), second),
  );
  let w_one = times_share(x.one, c_one);
  let w_other = times_share(x.other, c_other);
  var sum = vec4f();
  if w_one != 0.0 { sum += w_one * load_one(row, c); }
  if second && w_other != 0.0 { sum += w_other * load_other(row, c); }
  store_out(row, c, sum);
  if c == 0u { store_aux(row, x.aux); }
}
`;
