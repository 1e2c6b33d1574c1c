import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import type { InputSource } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { type ChannelConfig, channels } from "./channels.ts";
import { divisorOf } from "./config.ts";
import { storesOf } from "./states.ts";
import { slicesOf, stepExchange, type StepTile } from "./step_exchange.ts";
import { decayOf, eraserOf, erasingRows, hasRowDecays, writingRows } from "./step_rows.ts";

/** What a step must know when it is compiled. */
export interface StepKernelConfig extends ChannelConfig, StepTile {
  readonly initial: boolean;
  readonly final: boolean;
  /** Where states are read. */
  readonly stateSource: InputSource;
}

/** Bytes of workgroup memory, where that is how rows reach columns. */
export function stepBytes(
  { keyDim, group, lanes }: Pick<StepKernelConfig, "keyDim" | "group" | "lanes">,
): number {
  return 4 * (5 + group) * keyDim + 16 * lanes * slicesOf({ exchange: "workgroup" });
}

/**
 * One token of each sequence: the state streams through, each element read, changed and written once by
 * the one invocation that owns it, in registers for no longer than that.
 *
 * A workgroup has columns of the state of a head. Its invocations compute what each row has of the token
 * (its key, queries, decay), a row each, and hand it to the columns.
 */
export function recurrenceStep(config: StepKernelConfig): Program {
  const { keyDim, valueDim, group, exchange, lanes } = config;
  const reads = channels(config);
  const whole = valueDim % (4 * lanes) === 0;
  const states = storesOf({ ...config, whole, decays: false });
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...reads.bindings,
    ...states.bindings,
  ];
  const slices = slicesOf(config);
  const sizes = {
    ...{ COLUMNS: lanes, SLICES: slices, THREADS: lanes * slices },
    KEYS: keyDim,
    VALUES: valueDim,
    GROUP: group,
    SUBSTEPS: 1,
  };
  const code = [
    constants(sizes),
    declare(bindings, reads.params),
    reads.code,
    states.code,
    unroll(mainOf(config), sizes),
  ].join("\n");
  const subgroups = exchange !== "workgroup";
  return { label: "recurrence (step)", code, bindings, params: reads.params, subgroups };
}

function mainOf(config: StepKernelConfig): string {
  const { inputs, normalize, initial, final, erase } = config;
  const { memory, before, row, walk, sumOfColumn, sumOfAll } = stepExchange(config);
  const decay = decayOf(config, row);
  const old = initial ? "load_state(state_row, d, e)" : "vec4f()";
  const read = `w += ${row[eraserOf(config)]} * ${erase === "late" ? `${decay} * ` : ""}${old};`;
  const erasing = /* wgsl */ `
  // w = p S
  var w = vec4f();
  ${walk(erasingRows(config), read)}
  ${sumOfColumn("w")}
  ${erase === "pair" ? "" : "if there { v = beta_at(t, head) * (v - w); }"}`;
  const normalizing = /* wgsl */ `
    ${sumOfAll("norms[r]")}
    factor /= ${divisorOf(config, { norm: "norms[r]", token: "t" })};`;
  return /* wgsl */ `
${memory}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let there = segment.x < segment.y; // an empty sequence hands its state on
  let t = segment.x;
  let head = tile.y;
  let state_row = segment.z * params.heads + head;
  let e = 4u * (tile.x * COLUMNS + lane % COLUMNS);

  var step = 1.0;
  if there { step = step_at(t, head); }
  ${hasRowDecays(config) ? "" : KEPT}
  @registers var query_norms: array<f32, GROUP>;
  @registers var norms: array<f32, GROUP>;
  @unroll for (var r = 0u; r < GROUP; r++) {
    if there { query_norms[r] = query_norm(t, head * GROUP + r); }
  }
  var v = vec4f();
  var value_decay = vec4f(1.0);
  @unroll for (var x = 0u; x < 4; x++) {
    if there && e + x < VALUES {
      v[x] = value_at(t, head, e + x);
      value_decay[x] = value_decay_at(t, head, e + x);
    }
  }
  ${before}
  ${erase === "none" ? "" : erasing}

  @registers var o: array<vec4f, GROUP>;
  ${
    walk(
      writingRows(config),
      /* wgsl */ `
    let s = ${old};
    let write = ${row.key} * v${erase === "pair" ? ` + ${row.erased} * w` : ""};
    let new_s = ${decay} * s * value_decay + write;
    ${final ? "store_state(state_row, d, e, new_s);" : ""}
    let read = ${inputs.u ? `s + ${row.bonus} * write` : "new_s"};
    @unroll for (var r = 0u; r < GROUP; r++) { o[r] += ${row.query} * read; }`,
    )
  }

  @unroll for (var r = 0u; r < GROUP; r++) {
    var factor = params.scale;
    ${sumOfColumn("o[r]")}
    ${normalize ? normalizing : ""}
    if there && lane < COLUMNS {
      @unroll for (var x = 0u; x < 4; x++) {
        if e + x < VALUES { finish(t, head, r, e + x, factor * o[r][x], v[x]); }
      }
    }
  }
}
`;
}

/** The decay of all rows. */
const KEPT = /* wgsl */ `
  var kept = 1.0;
  if there { kept = decay_at(t, head, 0u, step); }`;
