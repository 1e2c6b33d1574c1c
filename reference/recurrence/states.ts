import type { Float64Tensor } from "../tensor.ts";
import type { RecurrenceOptions } from "./engine.ts";
import type { Float64StateRecord } from "./options.ts";
import { zeros } from "./tensors.ts";

/**
 * The initial states of N sequences and HV heads, each K x V row by row; with `normalize` each row has
 * its element of z behind it.
 */
export function loadStates(
  [sequences, heads, keyDim, valueDim]: readonly number[],
  { initialState, normalize = false, stateLayout }: RecurrenceOptions,
): Float64Array[] {
  const { s, z } = initialState && "s" in initialState
    ? initialState
    : { s: initialState, z: undefined };
  const width = valueDim + (normalize ? 1 : 0);
  return Array.from({ length: sequences * heads }, (_, index) => {
    const S = new Float64Array(keyDim * width);
    for (let d = 0; d < keyDim; d++) {
      for (let e = 0; e < valueDim && s; e++) {
        const place = stateLayout === "vk" ? e * keyDim + d : d * valueDim + e;
        S[d * width + e] = s.data[index * keyDim * valueDim + place];
      }
      if (z && normalize) S[d * width + valueDim] = z.data[index * keyDim + d];
    }
    return S;
  });
}

/** The states as tensors, the reverse of {@linkcode loadStates}. */
export function storeStates(
  states: readonly Float64Array[],
  [sequences, heads, keyDim, valueDim]: readonly number[],
  { normalize = false, stateLayout }: RecurrenceOptions,
): Float64Tensor | Float64StateRecord {
  const axes = stateLayout === "vk" ? [valueDim, keyDim] : [keyDim, valueDim];
  const s = zeros([sequences, heads, ...axes]);
  const z = zeros([sequences, heads, keyDim]);
  const width = valueDim + (normalize ? 1 : 0);
  for (const [index, S] of states.entries()) {
    for (let d = 0; d < keyDim; d++) {
      for (let e = 0; e < valueDim; e++) {
        const place = stateLayout === "vk" ? e * keyDim + d : d * valueDim + e;
        s.data[index * keyDim * valueDim + place] = S[d * width + e];
      }
      if (normalize) z.data[index * keyDim + d] = S[d * width + valueDim];
    }
  }
  return normalize ? { s, z } : s;
}
