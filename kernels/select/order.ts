/** Pairs that a workgroup sorts in its memory. */
export const SORT_TILE = 1024;

/**
 * Compares and exchanges pairs of a key and an index in `pairs`, a step of a bitonic sort whose every
 * exchange puts the smaller pair first: what is behind the end of a row then stays there, and needs no
 * memory.
 */
export const EXCHANGE = /* wgsl */ `
fn precedes(a: vec2u, b: vec2u) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }

/// The two places that exchange i of a step compares: a size begins with mirrored places.
fn places_of(i: u32, size: u32, stride: u32) -> vec2u {
  let offset = i & (stride - 1u); // strides are powers of two
  let first = 2u * (i - offset);
  let mirrored = first + 2u * stride - 1u - offset;
  return vec2u(first + offset, select(first + offset + stride, mirrored, 2u * stride == size));
}`;

/** The same on the `pairs` of a workgroup, of which `count` are there. */
export const EXCHANGE_SHARED = /* wgsl */ `
fn exchange(thread: u32, count: u32, size: u32, stride: u32, all: u32) {
  for (var i = thread; i < all / 2u; i += THREADS) {
    let at = places_of(i, size, stride);
    if at.y < count && precedes(pairs[at.y], pairs[at.x]) {
      let swapped = pairs[at.x];
      pairs[at.x] = pairs[at.y];
      pairs[at.y] = swapped;
    }
  }
  workgroupBarrier();
}

/// Sorts the first pairs; all is a power of two, and not less than count.
fn sort_pairs(thread: u32, count: u32, all: u32) {
  for (var size = 2u; size <= all; size <<= 1u) {
    for (var stride = size >> 1u; stride > 0u; stride >>= 1u) {
      exchange(thread, count, size, stride, all);
    }
  }
}`;
