import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import type { RecurrenceOptions } from "./engine.ts";
import type { Float64StateRecord, StateOptions } from "./options.ts";
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

/** The matrices K x V of a state `[…, K, V]`, one for each index before them; 0 where there is none. */
export function loadMatrices(
  shape: readonly number[],
  state: ReferenceTensor | undefined,
  stateLayout: StateOptions["stateLayout"],
): Float64Array[] {
  const [keyDim, valueDim] = shape.slice(-2);
  const size = keyDim * valueDim;
  const count = shape.slice(0, -2).reduce((product, axis) => product * axis, 1);
  return Array.from({ length: count }, (_, index) => {
    const S = new Float64Array(size);
    for (let i = 0; i < size && state; i++) {
      const place = stateLayout === "vk" ? (i % valueDim) * keyDim + Math.floor(i / valueDim) : i;
      S[i] = state.data[index * size + place];
    }
    return S;
  });
}

/** The matrices as a tensor, the reverse of {@linkcode loadMatrices}. */
export function storeMatrices(
  matrices: readonly Float64Array[],
  shape: readonly number[],
  stateLayout: StateOptions["stateLayout"],
): Float64Tensor {
  const [keyDim, valueDim] = shape.slice(-2);
  const axes = stateLayout === "vk" ? [valueDim, keyDim] : [keyDim, valueDim];
  const state = zeros([...shape.slice(0, -2), ...axes]);
  for (const [index, S] of matrices.entries()) {
    for (let i = 0; i < S.length; i++) {
      const place = stateLayout === "vk" ? (i % valueDim) * keyDim + Math.floor(i / valueDim) : i;
      state.data[index * S.length + place] = S[i];
    }
  }
  return state;
}
