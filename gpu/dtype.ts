/** Element types of tensors. */
export type DType = "f32" | "f16" | "i32" | "u32";

/** Typed arrays that hold tensor elements. */
export type TensorData = Float32Array | Float16Array | Int32Array | Uint32Array;

/** The typed array of each element type. */
export interface DataOf {
  /** 32-bit floating point. */
  f32: Float32Array;
  /** 16-bit floating point. */
  f16: Float16Array;
  /** 32-bit signed integers. */
  i32: Int32Array;
  /** 32-bit unsigned integers. */
  u32: Uint32Array;
}

/** Bytes of one element. */
export function elementBytes(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}

/** Element type of a typed array. */
export function dtypeOf(data: TensorData): DType {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  if (typeof Float16Array !== "undefined" && data instanceof Float16Array) return "f16";
  throw new TypeError(
    `Cannot make a tensor as data must be a Float32Array, Float16Array, Int32Array or Uint32Array: data is ${
      kindOf(data)
    }`,
  );
}

/** The bytes of a buffer as elements of a type. */
export function viewOf<T extends DType>(dtype: T, bytes: ArrayBuffer, length: number): DataOf[T] {
  const views = {
    f32: () => new Float32Array(bytes, 0, length),
    f16: () => new Float16Array(bytes, 0, length),
    i32: () => new Int32Array(bytes, 0, length),
    u32: () => new Uint32Array(bytes, 0, length),
  };
  return views[dtype]() as DataOf[T];
}

/** Number of elements of a shape. */
export function volume(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** What a value is, for an error message. */
export function kindOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  return value.constructor?.name ?? "an object";
}

const DTYPES: readonly DType[] = ["f32", "f16", "i32", "u32"];

/** Refuses what is no element type. */
export function checkElementType(action: string, dtype: unknown): void {
  if (!DTYPES.some((known) => known === dtype)) {
    throw new TypeError(
      `Cannot ${action} as dtype must be one of ${DTYPES.join(", ")}: dtype is ${kindOf(dtype)}`,
    );
  }
}

/** Refuses what is no shape. */
export function checkShape(action: string, shape: readonly number[]): void {
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new TypeError(
      `Cannot ${action} as its shape must be an array of integers >= 0: shape is ${
        Array.isArray(shape) ? `[${shape}]` : kindOf(shape)
      }`,
    );
  }
}
