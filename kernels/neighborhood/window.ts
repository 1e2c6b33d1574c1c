import { constants, type ParamType } from "../../gpu/program.ts";

/** What is compiled of a neighborhood's windows. */
export interface WindowConfig {
  /** Axes on which keys after a query's own are hidden. */
  readonly causal: readonly [x: boolean, y: boolean, z: boolean];
  /** Whether a stride exceeds 1 on some axis. */
  readonly strided: boolean;
  /** Whether a dilation does. */
  readonly dilated: boolean;
}

/** Run-time parameters of windows: L, d, k and s of each axis; an axis that is not there has all 1. */
export const WINDOW_PARAMS: Readonly<Record<string, ParamType>> = Object.fromEntries(
  ["len", "dilation", "window", "stride"]
    .flatMap((name) => ["X", "Y", "Z"].map((axis) => [name + axis, "u32" as const])),
);

/** Windows as WGSL, all axes at once (math/neighborhood.md, section 1.2). */
export function windowCode({ causal, strided, dilated }: WindowConfig): string {
  return [
    constants({ STRIDED: strided, DILATED: dilated }),
    `const CAUSAL = vec3<bool>(${causal});`,
    CODE,
  ].join(
    "\n",
  );
}

const CODE = /* wgsl */ `
fn lengths() -> vec3u { return vec3u(params.len_x, params.len_y, params.len_z); }
fn dilation() -> vec3u {
  if !DILATED { return vec3u(1u); }
  return vec3u(params.dilation_x, params.dilation_y, params.dilation_z);
}
fn window_size() -> vec3u { return vec3u(params.window_x, params.window_y, params.window_z); }
fn stride() -> vec3u { return vec3u(params.stride_x, params.stride_y, params.stride_z); }

/// The i-th cell of a box, the last axis fastest.
fn cell(i: u32, size: vec3u) -> vec3u {
  return vec3u(i / (size.y * size.z), i / size.z % size.y, i % size.z);
}

/// Places of the dilation group of a residue: n = ceil((L - r) / d).
fn places_of(residue: vec3u) -> vec3u { return (lengths() - residue + dilation() - 1u) / dilation(); }

fn token_of(place: vec3u, residue: vec3u) -> u32 {
  let at = place * dilation() + residue;
  return (at.x * params.len_y + at.y) * params.len_z + at.z;
}

/// The first place that the query at a place sees, lo.
fn window_first(place: vec3u, places: vec3u) -> vec3u {
  let k = vec3i(window_size());
  var group = place;
  if STRIDED { group = place - place % stride(); }
  let trailing = vec3i(min(group + stride(), places)) - k;
  let centred = min(vec3i(group + stride() / 2u) - k / 2, vec3i(places) - k);
  return vec3u(max(select(centred, trailing, CAUSAL), vec3i()));
}

/// The last place that it sees, hi.
fn window_last(place: vec3u, first: vec3u) -> vec3u {
  return select(first + window_size() - 1u, place, CAUSAL);
}
`;
