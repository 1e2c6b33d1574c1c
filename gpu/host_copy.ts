import type { Tensor } from "./tensor.ts";

/** Integers are few, and plans depend on them: what was uploaded is kept for as long as its tensor. */
const COPIES: WeakMap<Tensor, Int32Array> = new WeakMap();

let copies = 0;
/** Contents differ where numbers do. */
const NUMBERS: WeakMap<Tensor, number> = new WeakMap();

/** Keeps the integers that were uploaded into a tensor. */
export function keepHostCopy(tensor: Tensor, data: Int32Array): void {
  COPIES.set(tensor, data.slice());
  NUMBERS.set(tensor, copies++);
}

/** The integers that were uploaded into a tensor, or undefined where it was computed or wrapped. */
export function hostCopyOf(tensor: Tensor): Int32Array | undefined {
  return COPIES.get(tensor);
}

/** A number of its own for each tensor whose integers are kept. */
export function hostCopyNumber(tensor: Tensor): number | undefined {
  return NUMBERS.get(tensor);
}
