import { MAGIC, readNpyHeader } from "./_npy_header.ts";

/** The data of a tensor that came from a file or goes to one. */
export type NpyData = Float32Array | Float16Array | Int32Array;

/** What {@linkcode decodeNpy} returns. */
export interface NpyArray {
  /** The elements, last axis fastest. */
  data: NpyData;
  /** The dtype of `data`. */
  dtype: "f32" | "f16" | "i32";
  /** The size of every axis. */
  shape: number[];
}

/** How the elements of a file are read: their size in bytes, and the array made of them. */
interface Reader {
  size: number;
  dtype: NpyArray["dtype"];
  read(buffer: ArrayBuffer, name: string): NpyData;
}

const READERS: Record<string, Reader> = {
  "<f2": { size: 2, dtype: "f16", read: (buffer) => new Float16Array(buffer) },
  "<f4": { size: 4, dtype: "f32", read: (buffer) => new Float32Array(buffer) },
  "<f8": { size: 8, dtype: "f32", read: (buffer) => new Float32Array(new Float64Array(buffer)) },
  "<i4": { size: 4, dtype: "i32", read: (buffer) => new Int32Array(buffer) },
  "<i8": { size: 8, dtype: "i32", read: (buffer, name) => narrow(new BigInt64Array(buffer), name) },
};

/**
 * Reads an array in NumPy's .npy format, versions 1.0 to 3.0, little endian and in C order.
 *
 * Doubles are rounded to f32; 64-bit integers are narrowed to i32 where every value fits. Anything
 * else is refused.
 *
 * @param bytes The content of the file.
 * @param name What error messages call the file.
 * @returns The data with its dtype and shape.
 *
 * @example Usage
 * ```ts
 * import { decodeNpy, encodeNpy } from "./npy.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = encodeNpy({ data: Float32Array.of(1, 2), shape: [1, 2] });
 *
 * assertEquals(decodeNpy(bytes, "q.npy").shape, [1, 2]);
 * ```
 */
export function decodeNpy(bytes: Uint8Array, name: string): NpyArray {
  const { descr, shape, dataStart } = readNpyHeader(bytes, name);
  const { size, dtype, read } = chooseReader(descr, name);
  const current = bytes.length - dataStart;
  const needed = shape.reduce((product, axis) => product * axis, size);
  if (current !== needed) {
    const rule = current < needed
      ? "its data must fill its shape"
      : "its data must end with the last element of its shape";
    throw new SyntaxError(
      `Cannot read "${name}" as ${rule}: shape [${
        shape.join(", ")
      }] of "${descr}" needs ${needed} bytes, the data has ${current}`,
    );
  }
  return { data: read(bytes.slice(dataStart).buffer, name), dtype, shape };
}

/**
 * Writes an array in NumPy's .npy format, version 1.0; the data starts at a multiple of 64 bytes.
 *
 * @param array The data, last axis fastest, and its shape.
 * @returns The content of the file.
 *
 * @example Usage
 * ```ts
 * import { encodeNpy } from "./npy.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = encodeNpy({ data: Float32Array.of(1, 2), shape: [1, 2] });
 *
 * assertEquals(bytes.length, 128 + 2 * Float32Array.BYTES_PER_ELEMENT);
 * ```
 */
export function encodeNpy(array: { data: NpyData; shape: readonly number[] }): Uint8Array {
  const { data, shape } = array;
  const elements = shape.reduce((product, axis) => product * axis, 1);
  if (elements !== data.length) {
    throw new TypeError(
      `Cannot write a .npy file as the data must fill its shape: shape [${
        shape.join(", ")
      }] has ${elements} elements, the data has ${data.length}`,
    );
  }
  const header = encodeHeader(data, shape);
  const bytes = new Uint8Array(header.length + data.byteLength);
  bytes.set(header);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), header.length);
  return bytes;
}

/** Magic, version, length and the Python dict literal, padded with spaces to a multiple of 64. */
function encodeHeader(data: NpyData, shape: readonly number[]): Uint8Array {
  const descr = data instanceof Int32Array ? "<i4" : `<f${data.BYTES_PER_ELEMENT}`;
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${axes}), }`;
  const textStart = MAGIC.length + 4;
  const dataStart = Math.ceil((textStart + text.length + 1) / 64) * 64;
  const length = dataStart - textStart;
  const preamble = `${MAGIC}\x01\x00${String.fromCharCode(length & 255, length >> 8)}`;
  const header = `${preamble}${text.padEnd(length - 1)}\n`;
  return Uint8Array.from(header, (character) => character.charCodeAt(0));
}

/** How to read elements that NumPy calls `descr`. */
function chooseReader(descr: string, name: string): Reader {
  if (Object.hasOwn(READERS, descr)) return READERS[descr];
  let rule = `its dtype must be one of ${Object.keys(READERS).join(", ")}`;
  if (descr.startsWith(">")) rule = "its data must be little endian";
  if (descr.includes("O")) rule = "its elements must be numbers, not Python objects";
  throw new TypeError(`Cannot read "${name}" as ${rule}: current dtype is "${descr}"`);
}

/** The same integers in 32 bits. */
function narrow(values: BigInt64Array, name: string): Int32Array {
  const index = values.findIndex((value) => BigInt.asIntN(32, value) !== value);
  if (index >= 0) {
    throw new RangeError(
      `Cannot read "${name}" as its integers must fit in 32 bits: value at index ${index} is ${
        values[index]
      }`,
    );
  }
  return Int32Array.from(values, Number);
}
