import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type InputSource, reader, writer } from "../shared/rows.ts";

const PARAMS = { sourceFirst: "u32", copiedFirst: "u32" } as const;
/** Invocations of a workgroup. */
export const COPY_THREADS = 256;

/**
 * A large copy into a buffer, one vec4 per invocation: the bandwidth that kernels can reach at best, read
 * as they read their inputs.
 */
export function copyCeiling({ source }: { readonly source: InputSource }): Program {
  const rows = { elem: "f32", width: 4 } as const;
  const from = reader({ name: "source", ...rows }, source);
  const to = writer({ name: "copied", ...rows });
  const bindings: readonly Binding[] = [from.binding, to.binding];
  const sizes = constants({ THREADS: COPY_THREADS });
  const code = [sizes, declare(bindings, PARAMS), from.code, to.code, MAIN].join("\n");
  return { label: `copy ceiling (${source})`, code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  store_copied(at.x, 0u, load_source(at.x, 0u));
}
`;
