import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";

/** Shape of the multiply-add microkernel. */
export interface FmaConfig {
  /** Independent vec4 accumulators of an invocation. */
  readonly accumulators: number;
  /** Multiply-adds of each accumulator in the text of the loop. */
  readonly unrolled: number;
}

const BINDINGS: readonly Binding[] = [{ name: "sums", access: "read_write", type: "array<vec4f>" }];
const PARAMS = { rounds: "u32" } as const;
/** Invocations of a workgroup. */
export const FMA_THREADS = 64;

/** Chains of multiply-adds on registers: the arithmetic that kernels can reach at best. */
export function fmaCeiling({ accumulators, unrolled }: FmaConfig): Program {
  const sizes = { THREADS: FMA_THREADS, ACCUMULATORS: accumulators, UNROLLED: unrolled };
  const code = [constants(sizes), declare(BINDINGS, PARAMS), unroll(MAIN, sizes)].join("\n");
  return { label: "FMA ceiling", code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let x = 0.999 + 1e-9 * f32(at.x);
  let y = 1e-3 * x;
  @registers var sum: array<vec4f, ACCUMULATORS>;
  @unroll for (var i = 0u; i < ACCUMULATORS; i++) { sum[i] = vec4f(x, y, x - y, x + y) + f32(i); }
  for (var round = 0u; round < params.rounds; round++) {
    @unroll for (var u = 0u; u < UNROLLED; u++) {
      @unroll for (var i = 0u; i < ACCUMULATORS; i++) { sum[i] = fma(sum[i], vec4f(x), vec4f(y)); }
    }
  }
  var total = vec4f();
  @unroll for (var i = 0u; i < ACCUMULATORS; i++) { total += sum[i]; }
  sums[at.x] = total;
}
`;
