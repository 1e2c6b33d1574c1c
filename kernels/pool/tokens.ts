import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Accessor, elementReader, reader, writer } from "../shared/rows.ts";
import { POOL_THREADS, type PoolConfig, readsAll } from "./config.ts";
import { POOL_FOLDS } from "./folds.ts";

/**
 * Pools blocks of tokens, each read once.
 *
 * An invocation owns four channels of a head in one block. Where blocks are long, several share its
 * tokens, so that a few long blocks keep a GPU busy; the first of them combines what they found, in
 * order.
 */
export function poolBlocks(config: PoolConfig): Program {
  const { kind, dim, slices } = config;
  const accessors = accessorsOf(config);
  const bindings: Binding[] = [
    { name: "blocks", access: "read", type: "array<vec4u>" }, // first token, one past the last
    ...accessors.map(({ binding }) => binding),
  ];
  const params: Record<string, ParamType> = {
    start: "u32", // first item of this launch: blocks, heads and columns, counted together
    end: "u32",
    heads: "u32",
    ...Object.fromEntries(accessors.map(({ binding }) => [`${binding.name}First`, "u32"])),
  };
  const code = [
    constants({ THREADS: POOL_THREADS, SLICES: slices, LANES: POOL_THREADS / slices }),
    constants({ C4: Math.ceil(dim / 4), WALKS: readsAll(kind) }),
    declare(bindings, params),
    ...accessors.map((accessor) => accessor.code),
    POOL_FOLDS[kind],
    slices > 1 ? SHARED : ALONE,
    MAIN,
  ].join("\n");
  return { label: `pooling (${kind})`, code, bindings, params, subgroups: false };
}

function accessorsOf({ elem, weightElem, dim, source }: PoolConfig): Accessor[] {
  return [
    reader({ name: "x", elem, width: dim }, source),
    ...(weightElem ? [elementReader({ name: "weights", elem: weightElem, width: 1 })] : []),
    writer({ name: "out", elem, width: dim, infinite: true }),
  ];
}

const ALONE = "fn all_of(own: Pooled, thread: u32) -> Pooled { return own; }";

const SHARED = /* wgsl */ `
var<workgroup> found: array<Pooled, THREADS>;

/// What the slices of the first one's channels found, for the first one.
fn all_of(own: Pooled, thread: u32) -> Pooled {
  found[thread] = own;
  workgroupBarrier();
  var all = own;
  if thread < LANES {
    for (var slice = 1u; slice < SLICES; slice++) {
      all = combine(all, found[slice * LANES + thread]);
    }
  }
  return all;
}`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let item = params.start + at.x * LANES + thread % LANES;
  let id = min(item, params.end - 1u);
  let c = id % C4;
  let h = id / C4 % params.heads;
  let n = id / (C4 * params.heads);
  let block = blocks[n];
  var own = start(block.x * params.heads + h, (block.y - 1u) * params.heads + h, c);
  if WALKS {
    for (var t = block.x + thread / LANES; t < block.y; t += SLICES) {
      own = take(own, t * params.heads + h, c);
    }
  }
  let all = all_of(own, thread);
  if item < params.end && thread < LANES {
    store_out(n * params.heads + h, c, finish(all, block.y - block.x));
  }
}
`;
