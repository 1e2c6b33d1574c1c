import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import {
  type Accessor,
  type Elem,
  elementReader,
  elementWriter,
  type InputSource,
  reader,
  writer,
} from "../shared/rows.ts";
import { touchCode, TOUCHING } from "../shared/touch.ts";
import { unroll } from "../unroll.ts";

/** What a causal convolution must know when it is compiled. */
export interface CausalConvConfig {
  /** Storage of x and out. */
  readonly elem: Elem;
  readonly weightElem: Elem;
  readonly biasElem: Elem | null;
  /** C. */
  readonly channels: number;
  /** W, taps of a filter. */
  readonly width: number;
  readonly silu: boolean;
  /** Whether sequences start from states, and whether those behind them are stored. */
  readonly initial: boolean;
  readonly final: boolean;
  /** Whether the states behind sequences take the place of those before them. */
  readonly inPlace: boolean;
  /** Where x is read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup. */
export const CONV_THREADS = 64;

/**
 * A filter of W taps for each channel, over the tokens so far.
 *
 * An invocation owns four channels of a run of tokens: it loads their filters and the W - 1 inputs
 * before the run, then each input once. The last W inputs stay in registers; behind the last token of
 * a sequence they are its state. Runs are the grid.
 */
export function causalConv(config: CausalConvConfig): Program {
  const { channels, width, silu, initial, final, inPlace } = config;
  const out = { name: "out", elem: config.elem, width: channels };
  const accessors = [...inputsOf(config), writer(out)];
  const bindings: Binding[] = [
    { name: "runs", access: "read", type: "array<vec4u>" },
    ...accessors.map(({ binding }) => binding),
  ];
  const params: Record<string, ParamType> = {
    start: "u32", // first invocation of this launch, counted over all runs
    end: "u32",
    ...Object.fromEntries(accessors.map(({ binding }) => [`${binding.name}First`, "u32"])),
  };
  const code = [
    constants({ THREADS: CONV_THREADS, CHANNELS: channels, C4: Math.ceil(channels / 4), W: width }),
    constants({ SILU: silu, TOUCHING }),
    declare(bindings, params),
    ...accessors.map((accessor) => accessor.code),
    config.biasElem ? "fn bias_of(c: u32) -> vec4f { return load_bias(0u, c); }" : NO_BIAS,
    initial ? givenBy(inPlace ? "new_state" : "state") : NO_STATE,
    final ? KEPT : NOT_KEPT,
    touchCode(out, config.source),
    unroll(MAIN, { W: width }),
  ].join("\n");
  return { label: "causal convolution", code, bindings, params, subgroups: false };
}

function inputsOf(config: CausalConvConfig): Accessor[] {
  const { elem, weightElem, biasElem, channels, width, initial, final, inPlace } = config;
  const rows = { elem, width: channels };
  const states = { elem: "f32", width: width - 1 } as const;
  return [
    reader({ name: "x", ...rows }, config.source),
    elementReader({ name: "weight", elem: weightElem, width }),
    ...(biasElem ? [reader({ name: "bias", elem: biasElem, width: channels }, "buffer")] : []),
    ...(initial && !inPlace ? [elementReader({ name: "state", ...states })] : []),
    ...(final ? [elementWriter({ name: "newState", ...states })] : []),
  ];
}

const NO_BIAS = "fn bias_of(c: u32) -> vec4f { return vec4f(); }";
const NO_STATE = "fn given(sequence: u32, channel: u32, i: u32) -> f32 { return 0.0; }";
const NOT_KEPT = "fn keep(sequence: u32, c: u32, i: u32, x: vec4f) {}";

/** States are `[sequences, CHANNELS, W - 1]`. */
function givenBy(name: string): string {
  return /* wgsl */ `
fn given(sequence: u32, channel: u32, i: u32) -> f32 {
  return ${name}[(sequence * CHANNELS + channel - params.${name}_first) * (W - 1u) + i];
}`;
}

const KEPT = /* wgsl */ `
fn keep(sequence: u32, c: u32, i: u32, x: vec4f) {
  for (var d = 0u; d < min(4u, CHANNELS - 4u * c); d++) {
    put_new_state(sequence * CHANNELS + 4u * c + d, i, x[d]);
  }
}`;

const MAIN = /* wgsl */ `
fn taps_at(c: u32, i: u32) -> vec4f {
  var w = vec4f();
  for (var d = 0u; d < min(4u, CHANNELS - 4u * c); d++) { w[d] = element_weight(4u * c + d, i); }
  return w;
}

/// What came some tokens before the first of a run, of its sequence or of the state that it starts from.
fn input_before(run: vec4u, back: u32, c: u32) -> vec4f {
  let past = run.x - run.z; // tokens of the sequence before the run
  if back <= past { return load_x(run.x - back, c); }
  var x = vec4f();
  for (var d = 0u; d < min(4u, CHANNELS - 4u * c); d++) {
    x[d] = given(run.w, 4u * c + d, W - 1u + past - back);
  }
  return x;
}

fn activated(y: vec4f) -> vec4f {
  if !SILU { return y; }
  return y / (1.0 + exp(clamp(-y, vec4f(-88.0), vec4f(88.0))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  // first token, one past the last, first token of the sequence, twice its number and whether it ends
  let found = runs[id / C4];
  let run = vec4u(found.xyz, found.w >> 1u);
  let c = id % C4;
  let bias = bias_of(c);
  @registers var taps: array<vec4f, W>;
  @registers var xs: array<vec4f, W>; // x_{t-W+1} to x_t
  @unroll for (var i = 0u; i < W; i++) { taps[i] = taps_at(c, i); }
  @unroll for (var i = 1u; i < W; i++) { xs[i] = input_before(run, W - i, c); }
  for (var t = run.x; t < run.y; t++) {
    if (t - run.x) % TOUCHING == 0u { // each of these neighbours fetches the lines of one token
      touch_columns(min(t + at.x % TOUCHING, run.y - 1u), c - min(c, at.x % TOUCHING));
    }
    @unroll for (var i = 1u; i < W; i++) { xs[i - 1u] = xs[i]; }
    xs[W - 1u] = load_x(t, c);
    var y = bias;
    @unroll for (var i = 0u; i < W; i++) { y += taps[i] * xs[i]; }
    store_out(t, c, activated(y));
  }
  keep_touched(params.start);
  if (found.w & 1u) == 0u { return; }
  @unroll for (var i = 1u; i < W; i++) { keep(run.w, c, i - 1u, xs[i]); }
}
`;
