/** What keys add to the sum of a row. */
export const MASS = /* wgsl */ `
const SLACK = 1.0 - 1e-6; // what rounding may take from sums

/// What a key adds to a sum.
fn mass_of(key: u32) -> f32 {
  return select(0.0, bitcast<f32>(key & 0x7fffffffu), key > ZERO);
}`;

/**
 * Counts the largest of a row that have a share of its sum. Each invocation sums its elements by the
 * next three bits of their keys; sums are added in the order of the invocations, so they repeat.
 */
export const SHARE: string = /* wgsl */ `${MASS}
const DIGITS = 11u; // of three bits; the first has two

struct Mass {
  prefix: u32, // digits of the last selected so far
  above: f32, // the sum of those whose digits are larger
  goal: f32, // what is to be reached
  ended: u32,
}
var<workgroup> mass: Mass;
var<workgroup> counts_of_row: array<atomic<u32>, 2>; // larger than the last selected, and equal

/// Adds the eight sums of all invocations, two in each word pair.
fn add_masses(thread: u32) {
  for (var other = THREADS / 2u; other > 0u; other >>= 1u) {
    workgroupBarrier();
    if thread < other {
      for (var i = 0u; i < 4u; i++) {
        let sum = bitcast<vec2f>(pairs[4u * thread + i]) + bitcast<vec2f>(pairs[4u * (thread + other) + i]);
        pairs[4u * thread + i] = bitcast<vec2u>(sum);
      }
    }
  }
  workgroupBarrier();
}

/// Adds the digit of the last selected to the prefix.
fn choose_mass(digit: u32, shift: u32) {
  if digit == 0u {
    var total = 0.0;
    for (var bin = 0u; bin < 8u; bin++) { total += bitcast<f32>(pairs[bin >> 1u][bin & 1u]); }
    mass.goal = params.share * total * SLACK;
    mass.ended = u32(!(mass.goal > 0.0));
  }
  var next = mass.above;
  var chosen = 0u;
  for (var bin = 7u; bin < 8u; bin--) {
    let sum = bitcast<f32>(pairs[bin >> 1u][bin & 1u]);
    if sum == 0.0 { continue; }
    chosen = bin;
    mass.above = next;
    next += sum;
    if next >= mass.goal { break; }
  }
  mass.prefix |= chosen << shift;
}

/// How many are selected.
fn count_share(row: u32, thread: u32) -> u32 {
  if thread == 0u { mass = Mass(0u, 0.0, 0.0, 0u); }
  if thread < 2u { atomicStore(&counts_of_row[thread], 0u); }
  for (var digit = 0u; digit < DIGITS; digit++) {
    let shift = 3u * (DIGITS - 1u - digit);
    workgroupBarrier();
    let prefix = mass.prefix;
    let known = select(0u, 0xffffffffu << ((shift + 3u) & 31u), digit > 0u);
    @registers var sums_of: array<f32, 8>;
    for (var i = thread; i < params.width; i += THREADS) {
      let key = candidate(row, i);
      let x = select(0.0, mass_of(key), ((key ^ prefix) & known) == 0u);
      let bin = (key >> shift) & 7u;
      @unroll for (var n = 0u; n < 8u; n++) { sums_of[n] += select(0.0, x, bin == n); }
    }
    @unroll for (var n = 0u; n < 4u; n++) {
      pairs[4u * thread + n] = bitcast<vec2u>(vec2f(sums_of[2u * n], sums_of[2u * n + 1u]));
    }
    add_masses(thread);
    if thread == 0u { choose_mass(digit, shift); }
  }
  workgroupBarrier();
  let last = mass.prefix;
  var larger = 0u;
  var equal = 0u;
  for (var i = thread; i < params.width; i += THREADS) {
    let key = candidate(row, i);
    larger += u32(key > last);
    equal += u32(key == last);
  }
  atomicAdd(&counts_of_row[0], larger);
  atomicAdd(&counts_of_row[1], equal);
  workgroupBarrier();
  if mass.ended == 1u { return 0u; }
  let ties = f32(atomicLoad(&counts_of_row[1]));
  let needed = clamp(ceil((mass.goal - mass.above) / mass_of(last)), 1.0, max(ties, 1.0));
  return atomicLoad(&counts_of_row[0]) + u32(needed);
}`;
