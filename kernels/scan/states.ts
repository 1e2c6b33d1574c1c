import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { ELEMENTS, SCAN_THREADS, type ScanKind } from "./element.ts";

/** What the passes around a scan must know when they are compiled. */
export interface ScanStatesConfig {
  readonly kind: ScanKind;
  /** Channels of a row. */
  readonly width: number;
  /** Whether elements are made of given states, or states of the elements that are left. */
  readonly from: "states" | "elements";
}

/** Turns the states of sequences into elements or back, four channels of a head an invocation. */
export function scanStates({ kind, width, from }: ScanStatesConfig): Program {
  const element = ELEMENTS[kind];
  const given = from === "states";
  const states = given ? element.given(width) : element.left(width);
  const bindings: Binding[] = [
    { name: "elements", access: "read_write", type: "array<Element>" }, // [sequences, heads, V4]
    ...states.accessors.map(({ binding }) => binding),
  ];
  const params: Record<string, ParamType> = {
    start: "u32", // first invocation of this launch
    end: "u32",
    ...Object.fromEntries(states.accessors.map(({ binding }) => [`${binding.name}First`, "u32"])),
  };
  const code = [
    constants({ THREADS: SCAN_THREADS, V4: Math.ceil(width / 4) }),
    element.code,
    declare(bindings, params),
    ...states.accessors.map((accessor) => accessor.code),
    states.code,
    MAIN.replace(
      "MOVE",
      given ? "elements[id] = given(id / V4, id % V4);" : "leave(id / V4, id % V4, elements[id]);",
    ),
  ].join("\n");
  return { label: `${kind} (${from})`, code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  MOVE
}
`;
