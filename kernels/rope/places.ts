/** `place_of(token, axis)`: a position from a grid, or from given ones. */
export function placesCode(positions: "i32" | "f32" | null): string {
  if (positions === null) return GRID;
  return positions === "i32" ? WHOLE : REAL;
}

const PLACE = /* wgsl */ `
/// A position: what is before the point, and behind it in units of 2^-32.
struct Place { whole: i32, part: u32 }

fn offset_of(axis: u32) -> i32 {
  return select(select(params.offset_x, params.offset_y, axis == 1u), params.offset_z, axis == 2u);
}`;

const GRID = /* wgsl */ `${PLACE}
fn place_of(token: u32, axis: u32) -> Place {
  let t = token % params.length;
  let x = t / (params.size_y * params.size_z);
  let y = t / params.size_z % params.size_y;
  let at = select(select(x, y, axis == 1u), t % params.size_z, axis == 2u);
  return Place(i32(at) + offset_of(axis), 0u);
}`;

const GIVEN = /* wgsl */ `${PLACE}
fn position_index(token: u32, axis: u32) -> u32 {
  return (select(token, token % params.length, SHARED) - params.positions_first) * AXES + axis;
}`;

const WHOLE = /* wgsl */ `${GIVEN}
fn place_of(token: u32, axis: u32) -> Place {
  return Place(positions[position_index(token, axis)] + offset_of(axis), 0u);
}`;

const REAL = /* wgsl */ `${GIVEN}
fn place_of(token: u32, axis: u32) -> Place {
  let at = positions[position_index(token, axis)];
  let whole = floor(at);
  let part = min(at - whole, 0.99999994); // 1 for tiny negative numbers
  return Place(i32(whole) + offset_of(axis), u32(part * 4294967296.0));
}`;
