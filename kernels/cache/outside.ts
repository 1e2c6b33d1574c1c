import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { CACHE_THREADS } from "./append.ts";

/** What a count of numbers out of range must know when it is compiled. */
export interface OutsideConfig {
  /** Whether lengths tell how many numbers of a row are used; else all are. */
  readonly lengths: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // first row of this launch
  columns: "u32",
  end: "u32", // numbers are >= 0 and less than this
  pageSize: "u32",
};

/** Counts the numbers of each row of a table that are out of range, a workgroup for each row. */
export function countOutside({ lengths }: OutsideConfig): Program {
  const bindings: Binding[] = [
    { name: "table", access: "read", type: "array<u32>" }, // [rows, columns]
    { name: "counts", access: "read_write", type: "array<u32>" }, // [rows]
    ...(lengths ? [{ name: "lengths", access: "read", type: "array<i32>" } as const] : []), // [rows]
  ];
  const used = lengths
    ? "min((u32(max(lengths[row], 0)) + params.page_size - 1u) / params.page_size, params.columns)"
    : "params.columns";
  const code = [
    constants({ THREADS: CACHE_THREADS }),
    declare(bindings, PARAMS),
    `fn used_of(row: u32) -> u32 { return ${used}; }`,
    MAIN,
  ].join("\n");
  return { label: "numbers out of range", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
var<workgroup> found: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = params.row0 + at.x;
  let used = used_of(row);
  var own = 0u;
  for (var n = thread; n < used; n += THREADS) {
    own += u32(table[row * params.columns + n] >= params.end);
  }
  atomicAdd(&found, own);
  workgroupBarrier();
  if thread == 0u { counts[row] = atomicLoad(&found); }
}
`;
