import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, reader, type Rows, writer } from "../shared/rows.ts";
import { MERGE_THREADS } from "./merge.ts";

/** What the merge of two results must know when it is compiled. */
export interface MergePairConfig {
  /** Storage of the first output. */
  readonly elem: Elem;
  /** Storage of the second. */
  readonly otherElem: Elem;
  /** Storage of the merged one. */
  readonly outElem: Elem;
  /** Dv. */
  readonly valueDim: number;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // rows of this launch
  row1: "u32",
  second: "u32", // 0 where there is no second result
  oneFirst: "u32", // first row of each bound range
  otherFirst: "u32",
  outFirst: "u32",
  lseFirst: "u32",
};

/**
 * Merges two results over disjoint keys: weights e^{lse_p - lse}, lse = log Σ e^{lse_p}.
 *
 * One invocation per row and vec4 column. A result that saw no key (lse = -inf) has weight 0 and its
 * output is not read; where neither saw one, out = 0 and lse = -inf.
 */
export function mergePair({ elem, otherElem, outElem, valueDim }: MergePairConfig): Program {
  const rows = (name: string, of: Elem): Rows => ({ name, elem: of, width: valueDim });
  const accessors = [
    reader(rows("one", elem), "buffer"),
    reader(rows("other", otherElem), "buffer"),
    writer(rows("out", outElem)),
  ];
  const lse = (name: string, access: Binding["access"]): Binding => ({
    ...{ name, access, type: "array<f32>" },
  });
  const bindings = [
    ...accessors.map(({ binding }) => binding),
    lse("oneLse", "read"),
    lse("otherLse", "read"),
    lse("lse", "read_write"),
  ];
  const code = [
    constants({ THREADS: MERGE_THREADS, V4: Math.ceil(valueDim / 4) }),
    declare(bindings, PARAMS),
    ...accessors.map((accessor) => accessor.code),
    MAIN,
  ].join("\n");
  return { label: "merge of attention", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
const FLOOR = -1e30;
const MASKED = -2e30;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = params.row0 + at.x / V4;
  let c = at.x % V4;
  if row >= params.row1 { return; }
  let lse_row = row - params.lse_first;
  let lse_one = max(one_lse[lse_row], MASKED);
  let lse_other = select(MASKED, max(other_lse[lse_row], MASKED), params.second == 1u);
  let m = max(FLOOR, max(lse_one, lse_other));
  let w_one = exp(lse_one - m);
  let w_other = exp(lse_other - m);
  let l = w_one + w_other;
  var sum = vec4f();
  if w_one > 0.0 { sum += w_one / l * load_one(row, c); }
  if w_other > 0.0 { sum += w_other / l * load_other(row, c); }
  store_out(row, c, sum);
  if c == 0u {
    var bits = 0xff800000u; // -inf
    lse[lse_row] = select(m + log(l), bitcast<f32>(bits), l == 0.0);
  }
}
`;
