import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import {
  ANCHOR_TOKENS,
  ELEMENTS,
  SCAN_THREADS,
  type ScanInputs,
  type ScanKind,
} from "./element.ts";
import { TOUCHING } from "../shared/touch.ts";
import { outputsOf } from "./outputs.ts";

/** What one pass does with its segments. */
export interface WalkPass {
  /** Whether they start from a stored element. */
  readonly initial: boolean;
  /** Whether the element behind them is stored. */
  readonly final: boolean;
  /** Whether outputs are written. */
  readonly outputs: boolean;
}

/** What a walk over tokens must know when it is compiled. */
export interface WalkConfig extends ScanInputs, WalkPass {
  readonly kind: ScanKind;
  /** Whether sequences run from their last token to their first. */
  readonly reverse: boolean;
  /**
   * Rows of gates for each row of keys, where outputs are the gates of a recurrence, with its keys (of
   * `logCumsumExp`) or their weights (of the mLSTM); null where they are the sums.
   */
  readonly gateRows: number | null;
}

/**
 * A scan token by token. An invocation owns four channels of a head in one segment of tokens, and
 * combines their elements; a walk without outputs leaves what a chunk does to what came before it.
 */
export function scanWalk(config: WalkConfig): Program {
  const { kind, width, reverse, initial, final, outputs, gateRows } = config;
  const element = ELEMENTS[kind];
  const inputs = element.token(config);
  const given = outputsOf(config);
  const accessors = [...inputs.accessors, ...given.accessors];
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    { name: "elements", access: "read_write", type: "array<Element>" }, // [segments, heads, V4]
    ...accessors.map(({ binding }) => binding),
  ];
  const params: Record<string, ParamType> = {
    start: "u32", // first invocation of this launch, counted over all segments
    end: "u32",
    heads: "u32",
    ...Object.fromEntries(accessors.map(({ binding }) => [`${binding.name}First`, "u32"])),
  };
  const code = [
    constants({ THREADS: SCAN_THREADS, V4: Math.ceil(width / 4), GATE_ROWS: gateRows ?? 0 }),
    constants({ TOUCHING }),
    ...(element.anchored ? [constants({ ANCHOR_TOKENS })] : []),
    constants({ REVERSE: reverse, INITIAL: initial, FINAL: final }),
    element.code,
    declare(bindings, params),
    ...accessors.map((accessor) => accessor.code),
    inputs.code,
    given.code,
    MAIN.replace("START", element.anchored ? ANCHOR : "")
      .replace("ADVANCE", element.anchored ? ANCHORED : "sum = combined(before, own);"),
  ].join("\n");
  const label = `${kind} (${outputs ? "walk" : "chunks"})`;
  return { label, code, bindings, params, subgroups: false };
}

const ANCHOR = /* wgsl */ `
  var found = sum;
  var since = identity();`;

const ANCHORED = /* wgsl */ `if (i - segment.x) % ANCHOR_TOKENS == 0u {
      found = sum;
      since = identity();
    }
    since = combined(since, own);
    sum = combined(found, since);`;

const MAIN = /* wgsl */ `
fn token_at(segment: vec4u, i: u32) -> u32 {
  return select(i, segment.x + segment.y - 1u - i, REVERSE);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let items = params.heads * V4; // of a token
  let segment = segments[id / items]; // first token, one past the last, its element
  let item = id % items;
  let head = item / V4;
  let c = id % V4;
  let place = segment.z * items + item;
  var sum = identity();
  if INITIAL { sum = elements[place]; }START
  for (var i = segment.x; i < segment.y; i++) {
    if (i - segment.x) % TOUCHING == 0u { // each of these neighbours fetches the lines of one token
      let ahead = token_at(segment, min(i + at.x % TOUCHING, segment.y - 1u));
      touch_columns(ahead * params.heads, item - min(item, at.x % TOUCHING));
    }
    let row = token_at(segment, i) * params.heads + head;
    let before = sum;
    let own = token(row, c);
    ADVANCE
    emit(row, c, before, own, sum);
  }
  if FINAL { elements[place] = sum; }
  keep_touched(params.start);
}
`;
