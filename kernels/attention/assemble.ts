import { constants, declare, type Program } from "../../gpu/program.ts";
import { reader, writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { ATTENTION_PARAMS, type AttentionConfig, attentionRows } from "./config.ts";
import { describe } from "./description.ts";

/** What tells one tiled kernel from the next. */
export interface TiledKernel {
  /** Name of its schedule. */
  readonly name: string;
  /** Constants of its text and of its unrolled loops. */
  readonly sizes: Readonly<Record<string, number>>;
  /** WGSL of `main` and what it calls beside the description. */
  readonly main: string;
  /** Whether it uses subgroup built-ins. */
  readonly subgroups: boolean;
}

/** Puts a tiled kernel together: constants, bindings, loads and stores, the mathematics, `main`. */
export function assemble(config: AttentionConfig, kernel: TiledKernel): Program {
  const { name, sizes, main, subgroups } = kernel;
  const description = describe(config);
  const { q, k, v, out } = attentionRows(config);
  const accessors = [...[q, k, v].map((rows) => reader(rows, config.source)), writer(out)];
  const bindings = [...accessors.map(({ binding }) => binding), ...description.bindings];
  const code = [
    constants({ ...sizes, ...description.constants }),
    declare(bindings, ATTENTION_PARAMS),
    ...accessors.map((accessor) => accessor.code),
    description.code,
    unroll(main, sizes),
  ].join("\n");
  return { label: `attention (${name})`, code, bindings, params: ATTENTION_PARAMS, subgroups };
}
