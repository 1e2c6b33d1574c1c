import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { GATE_CODE } from "../recurrence/config.ts";
import { type Elem, elementReader, elementWriter } from "../shared/rows.ts";
import {
  SELECTIVE_INPUTS,
  SELECTIVE_NAMES,
  type SelectiveConfig,
  selectiveWidth,
} from "./config.ts";
import { arePaired, PAIR_READER } from "./pairs.ts";

/** What the baseline must know when it is compiled. */
export interface NaiveSelectiveConfig extends SelectiveConfig {
  /** Storage of the output. */
  readonly elem: Elem;
  readonly initial: boolean;
  readonly final: boolean;
}

/** Invocations of a workgroup. */
export const NAIVE_SELECTIVE_THREADS = 64;

/** Loop iterations of the baseline for a token, and for states in and out. */
export function naiveIterations({ states }: Pick<SelectiveConfig, "states">): [number, number] {
  return [states + 2, 2 * (states + 1) + 1];
}

/**
 * The baseline that speed-ups are measured against: the token loop with one thread for each channel,
 * whose states are a private array walked by loops; scalar loads, nothing shared.
 */
export function naiveSelective(config: NaiveSelectiveConfig): Program {
  const { elem, channels, states, inputs, softplus, reverse, initial, final } = config;
  const paired = arePaired(config);
  const accessors = [
    ...(paired ? [PAIR_READER] : []),
    ...SELECTIVE_NAMES.flatMap((name) => {
      const stored = inputs[name];
      const width = selectiveWidth(name, config);
      if (stored === undefined || (paired && SELECTIVE_INPUTS[name].per === "call")) return [];
      return [elementReader({ name, elem: stored, width })];
    }),
    elementWriter({ name: "out", elem, width: channels }),
  ];
  const state: Binding = { name: "state", access: "read_write", type: "array<f32>" };
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...accessors.map(({ binding }) => binding),
    ...(initial || final ? [state] : []),
  ];
  const params: Record<string, ParamType> = {
    segment0: "u32",
    tile0: "u32",
    ...Object.fromEntries(
      accessors.filter((accessor) => accessor !== PAIR_READER)
        .map(({ binding }) => [`${binding.name}First`, "u32"]),
    ),
  };
  const biased = `element_delta(t, e)${inputs.deltaBias ? " + element_delta_bias(0u, e)" : ""}`;
  const place = "state[(segment.z * CHANNELS + e) * STATES + n]";
  const main = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let e = (params.tile0 + tile.x) * THREADS + lane;
  if e >= CHANNELS { return; }
  let segment = segments[params.segment0 + tile.z];
  var h = array<f32, STATES>();
  ${initial ? `for (var n = 0u; n < STATES; n++) { h[n] = ${place}; }` : ""}
  for (var i = segment.x; i < segment.y; i++) {
    let t = ${reverse ? "segment.x + segment.y - 1u - i" : "i"};
    let u = element_u(t, e);
    let step = ${softplus ? `softplus(${biased})` : biased};
    var y = ${inputs.skip ? "element_skip(0u, e) * u" : "0.0"};
    for (var n = 0u; n < STATES; n++) {
      h[n] = decay_of(step * element_rates(e, n)) * h[n] + step * u * element_writes(t, n);
      y += element_reads(t, n) * h[n];
    }
    ${inputs.outGate ? "let z = element_out_gate(t, e);\n    y *= z * sigmoid(z);" : ""}
    put_out(t, e, y);
  }
  ${final ? `for (var n = 0u; n < STATES; n++) { ${place} = h[n]; }` : ""}
}
`;
  const sizes = { THREADS: NAIVE_SELECTIVE_THREADS, CHANNELS: channels, STATES: states };
  const code = [
    constants(sizes),
    declare(bindings, params),
    GATE_CODE,
    ...accessors.map((accessor) => accessor.code),
    main,
  ].join("\n");
  return { label: "selectiveScan (naive)", code, bindings, params, subgroups: false };
}
