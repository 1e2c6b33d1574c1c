import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, type InputSource, reader, writer } from "../shared/rows.ts";
import { ANGLES } from "./angles.ts";
import { placesCode } from "./places.ts";
import { HIGH_PRODUCT } from "./product.ts";

/** Which channels of a row rotate together. */
export type RopePairing =
  | "columns" // halves of sections, in whole vec4s
  | "neighbors" // 2i and 2i + 1
  | "any"; // as the table has it

/** What a rotary embedding must know when it is compiled. */
export interface RopeConfig {
  /** Storage of x and out. */
  readonly elem: Elem;
  /** D. */
  readonly width: number;
  /** Channels that rotate, the first of a row. */
  readonly rotated: number;
  readonly pairing: RopePairing;
  /** Storage of positions; null where tokens count on a grid. */
  readonly positions: "i32" | "f32" | null;
  /** Whether batch entries share positions. */
  readonly sharedPositions: boolean;
  /** Positions of a token. */
  readonly axes: number;
  /** Where x is read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup. */
export const ROPE_THREADS = 64;

/** Heads of an invocation, which share sines and cosines. */
export const ROPE_HEADS = 8;

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch, counted over all tokens
  end: "u32",
  length: "u32", // T
  heads: "u32",
  sizeY: "u32", // tokens on the second axis and the third; 1 where there is none
  sizeZ: "u32",
  offsetX: "i32", // added to positions
  offsetY: "i32",
  offsetZ: "i32",
  xFirst: "u32",
  outFirst: "u32",
  positionsFirst: "u32",
};

/** Columns of a row, each of which is a unit of work; pairs of columns are one. */
export function ropeUnits({ width, rotated, pairing }: RopeConfig): number {
  return Math.ceil(width / 4) - (pairing === "columns" ? rotated / 8 : 0);
}

/**
 * Rotary positions (Su et al. 2021, section 3.2.2): pairs of channels turn by position times frequency.
 *
 * An invocation owns four channels, or four pairs, of a token, in up to eight heads. Angles are turns in
 * fixed point, 64 bits behind the point: their products with integers wrap around exactly, so that what
 * is left is good to 2^-32 turns at every position. Sine and cosine are polynomials on an eighth of a
 * turn, since WGSL promises its own to 2^-11 only.
 */
export function rope(config: RopeConfig): Program {
  const { elem, width, rotated, pairing, positions, sharedPositions, axes } = config;
  const x = reader({ name: "x", elem, width }, config.source);
  const out = writer({ name: "out", elem, width });
  const bindings: Binding[] = [
    { name: "turns", access: "read", type: "array<vec4u>" }, // a row for each channel, or each pair
    ...(positions === null
      ? []
      : [{ name: "positions", access: "read", type: `array<${positions}>` } as const]),
    x.binding,
    out.binding,
  ];
  const code = [
    constants({ THREADS: ROPE_THREADS, HEADS: ROPE_HEADS, UNITS: ropeUnits(config) }),
    constants({ ROTATED: rotated, AXES: axes, SHARED: sharedPositions }),
    declare(bindings, PARAMS),
    x.code,
    out.code,
    HIGH_PRODUCT,
    placesCode(positions),
    ANGLES,
    pairing === "columns" ? TURN_COLUMNS : TURN_CHANNELS,
    pairing === "neighbors" ? NEIGHBORS : pairing === "any" ? ANY : "",
    MAIN,
  ].join("\n");
  return { label: "rope", code, bindings, params: PARAMS, subgroups: false };
}

const TURN_COLUMNS = /* wgsl */ `
fn row_of(pair: u32) -> vec4u { return turns[pair]; }

/// Rows of the table are pairs: axis, first channel, second channel.
fn turn(unit: u32, token: u32, first: u32, end: u32) {
  if unit >= ROTATED / 8u {
    let c = unit + ROTATED / 8u;
    for (var row = first; row < end; row++) { store_out(row, c, load_x(row, c)); }
    return;
  }
  let pair = row_of(4u * unit).w;
  let low = ((pair >> 2u) & 0x7fffu) / 4u;
  let high = (pair >> 17u) / 4u;
  let by = rotation_of(4u * unit, token);
  for (var row = first; row < end; row++) {
    let a = load_x(row, low);
    let b = load_x(row, high);
    store_out(row, low, a * by.cosine - b * by.sine);
    store_out(row, high, b * by.cosine + a * by.sine);
  }
}
`;

const TURN_CHANNELS = /* wgsl */ `
fn row_of(channel: u32) -> vec4u { return turns[min(channel, ROTATED - 1u)]; }

/// Rows of the table are channels, the first of a pair with a negative frequency.
fn turn(unit: u32, token: u32, first: u32, end: u32) {
  let by = rotation_of(4u * unit, token);
  let rotates = 4u * unit + vec4u(0u, 1u, 2u, 3u) < vec4u(ROTATED);
  for (var row = first; row < end; row++) {
    let x = load_x(row, unit);
    let y = partners(row, unit, x);
    store_out(row, unit, select(x, x * by.cosine + y * by.sine, rotates));
  }
}
`;

const NEIGHBORS = "fn partners(row: u32, c: u32, x: vec4f) -> vec4f { return x.yxwz; }";

const ANY = /* wgsl */ `
fn partners(row: u32, c: u32, x: vec4f) -> vec4f {
  var y = vec4f();
  for (var n = 0u; n < 4u; n++) {
    let channel = row_of(4u * c + n).w >> 17u;
    y[n] = load_x(row, channel / 4u)[channel % 4u];
  }
  return y;
}
`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let groups = (params.heads + HEADS - 1u) / HEADS;
  let token = id / UNITS / groups;
  let head = id / UNITS % groups * HEADS;
  let row = token * params.heads;
  turn(id % UNITS, token, row + head, row + min(head + HEADS, params.heads));
}
`;
