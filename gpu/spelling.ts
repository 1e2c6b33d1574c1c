import { describeTensor, Tensor } from "./tensor.ts";

/** What is found while values are spelled. */
export interface Found {
  /** Tensors in the order of their numbers. */
  readonly tensors: Tensor[];
  /** Buffers of tensors in the order of their numbers. */
  readonly buffers: GPUBuffer[];
  /** Whether all of the values could be spelled. */
  plain: boolean;
}

/** Nothing found yet. */
export function nothingFound(): Found {
  return { tensors: [], buffers: [], plain: true };
}

/** What tells all of an object of a class, by the prototype of the class. */
const PARTS: Map<object, (object: never) => object> = new Map();

/** Makes objects of a class known: `parts` returns all that operators can know of one. */
export function spellAs<T extends object>(prototype: T, parts: (object: T) => object): void {
  PARTS.set(prototype, parts);
}

/**
 * Spells all of a value: tensors, plain objects, arrays, text and numbers, so that equal spellings are of
 * equal values. Of tensors all is spelled that an operator can know without waiting for the device; which
 * of them are one tensor, or share a buffer, is spelled by numbers.
 *
 * @param found receives tensors, and that there is something which cannot be spelled, such as a function
 */
export function spell(value: unknown, found: Found): string {
  switch (typeof value) {
    case "string":
      return `"${value.length}"${value}`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      return value === null ? "null" : spellObject(value, found);
    default:
      found.plain = false;
      return typeof value;
  }
}

function spellObject(value: object, found: Found): string {
  if (value instanceof Tensor) return spellTensor(value, found);
  if (Array.isArray(value)) {
    let text = "[";
    for (let i = 0; i < value.length; i++) text += spell(value[i], found) + ",";
    return text + "]";
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype) {
    const parts = PARTS.get(prototype);
    if (parts !== undefined) return `@${spell(parts(value as never), found)}`;
    found.plain = false;
    return "object";
  }
  let text = "{";
  // those that are not enumerable are read as well
  for (const name of Object.getOwnPropertyNames(value)) {
    text += `${name.length}"${name}${spell((value as Record<string, unknown>)[name], found)},`;
  }
  return text + "}";
}

/** A copy of what is spelled: getters have become values, tensors and objects of classes are the same. */
export function copied<T>(value: T): T;
export function copied(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return Array.from(value, copied);
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  const fields = value as Record<string, unknown>;
  const names = Object.getOwnPropertyNames(fields);
  return Object.fromEntries(names.map((name) => [name, copied(fields[name])]));
}

function spellTensor(tensor: Tensor, { tensors, buffers }: Found): string {
  const { buffer } = tensor;
  return `${describeTensor(tensor)}#${numberOf(tensor, tensors)}#${numberOf(buffer, buffers)}`;
}

/** The number of an item in a list, at whose end it is put the first time. */
function numberOf<T>(item: T, list: T[]): number {
  const number = list.indexOf(item);
  return number < 0 ? list.push(item) - 1 : number;
}
