/**
 * Finds the keys of a row that are selected, digit after digit from the highest: the histogram of a
 * digit tells in which bin the last of them is. The kernel has `candidate(row, i)`, the key of an
 * element, and says in its parameters how many there are and in how many bytes their indices differ.
 */
export const RADIX = /* wgsl */ `
const BINS = 256u;

struct Cut {
  prefix: u32, // digits of the last selected so far
  need: u32, // how many are selected among those that begin so
  ties: u32, // how many begin so
  found: u32, // how many there are, selected or not
}
var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> sums: array<u32, 16>;
var<workgroup> cut: Cut;

/// The digits above those at a shift.
fn above(shift: u32) -> u32 {
  return select(0u, 0xffffffffu << ((shift + 8u) & 31u), shift < 24u);
}

fn clear_bins(thread: u32) {
  for (var i = thread; i < BINS; i += THREADS) { atomicStore(&bins[i], 0u); }
  workgroupBarrier();
}

/// Adds the bin of the last selected to the prefix.
fn choose_bin(thread: u32, shift: u32) {
  workgroupBarrier();
  if thread < 16u {
    var sum = 0u;
    for (var i = 0u; i < 16u; i++) { sum += atomicLoad(&bins[16u * thread + i]); }
    sums[thread] = sum;
  }
  workgroupBarrier();
  if thread == 0u {
    var total = 0u;
    for (var i = 0u; i < 16u; i++) { total += sums[i]; }
    cut.found = max(cut.found, total);
    var need = min(cut.need, total);
    var group = 15u;
    for (; group > 0u && sums[group] < need; group--) { need -= sums[group]; }
    var bin = 16u * group + 15u;
    for (; bin > 16u * group && atomicLoad(&bins[bin]) < need; bin--) {
      need -= atomicLoad(&bins[bin]);
    }
    cut.prefix |= bin << shift;
    cut.need = need;
    cut.ties = atomicLoad(&bins[bin]);
  }
  workgroupBarrier();
}

/// The key of the last selected of those that reach a key, limit at most.
fn find_key(row: u32, thread: u32, least: u32, limit: u32) -> Cut {
  if thread == 0u { cut = Cut(0u, limit, 0u, 0u); }
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    clear_bins(thread);
    let prefix = cut.prefix;
    for (var i = thread; i < params.width; i += THREADS) {
      let key = candidate(row, i);
      if key >= least && ((key ^ prefix) & above(shift)) == 0u {
        atomicAdd(&bins[(key >> shift) & 255u], 1u);
      }
    }
    choose_bin(thread, shift);
  }
  return workgroupUniformLoad(&cut);
}

/// The largest index of the last key that is selected: among equals the smaller index comes first.
fn find_index(row: u32, thread: u32, last: Cut) -> u32 {
  if last.ties <= last.need { return 0xffffffffu; }
  if thread == 0u { cut.prefix = params.index_prefix; }
  for (var digit = 0u; digit < params.index_digits; digit++) {
    let shift = 8u * (params.index_digits - 1u - digit);
    clear_bins(thread);
    let prefix = cut.prefix;
    for (var i = thread; i < params.width; i += THREADS) {
      if candidate(row, i) == last.prefix && ((~i ^ prefix) & above(shift)) == 0u {
        atomicAdd(&bins[(~i >> shift) & 255u], 1u);
      }
    }
    choose_bin(thread, shift);
  }
  return ~workgroupUniformLoad(&cut).prefix;
}`;
