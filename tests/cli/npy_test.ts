import { assertEquals, assertThrows } from "@std/assert";
import { decodeNpy, encodeNpy } from "../../cli/npy.ts";

/** A .npy file put together by hand. */
function npyFile(
  options: { version?: number[]; descr?: string; shape?: string; header?: string },
  data: ArrayBufferView = new Uint8Array(),
): Uint8Array {
  const { version = [1, 0], descr = "'<f4'", shape = "(2, 3)" } = options;
  const text = options.header ??
    `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}, }\n`;
  const length = version[0] === 1 ? [text.length, 0] : [text.length, 0, 0, 0];
  return Uint8Array.of(
    0x93,
    ...new TextEncoder().encode("NUMPY"),
    ...version,
    ...length,
    ...new TextEncoder().encode(text),
    ...new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
}

/** The message with which a file is refused. */
function refusal(
  bytes: Uint8Array,
  errorClass: new (message: string) => Error = SyntaxError,
): string {
  return assertThrows(() => decodeNpy(bytes, "q.npy"), errorClass).message;
}

const SIX = Float32Array.of(1, 2, 3, 4, 5, 6);

Deno.test("decodeNpy() reads back what encodeNpy() wrote as f32", () => {
  const array = { data: Float32Array.of(0.1, -2, Infinity, NaN, 3e38, 1e-40), shape: [2, 3] };

  assertEquals(decodeNpy(encodeNpy(array), "q.npy"), { ...array, dtype: "f32" });
});

Deno.test("decodeNpy() reads back what encodeNpy() wrote as f16", () => {
  const array = { data: Float16Array.of(0.5, -2, 65504), shape: [3] };

  assertEquals(decodeNpy(encodeNpy(array), "q.npy"), { ...array, dtype: "f16" });
});

Deno.test("decodeNpy() reads back what encodeNpy() wrote as i32", () => {
  const array = { data: Int32Array.of(-2147483648, 2147483647), shape: [1, 2, 1] };

  assertEquals(decodeNpy(encodeNpy(array), "q.npy"), { ...array, dtype: "i32" });
});

Deno.test("decodeNpy() reads back a 0-D and an empty array", () => {
  const scalar = { data: Float32Array.of(7), shape: [] };
  const empty = { data: new Float32Array(0), shape: [2, 0, 3] };

  assertEquals(decodeNpy(encodeNpy(scalar), "q.npy"), { ...scalar, dtype: "f32" });
  assertEquals(decodeNpy(encodeNpy(empty), "q.npy"), { ...empty, dtype: "f32" });
});

Deno.test("decodeNpy() rounds f8 to f32", () => {
  const file = npyFile({ descr: "'<f8'", shape: "(3,)" }, Float64Array.of(0.1, -1e-50, 1e300));

  assertEquals(decodeNpy(file, "q.npy"), {
    data: Float32Array.of(Math.fround(0.1), -0, Infinity),
    dtype: "f32",
    shape: [3],
  });
});

Deno.test("decodeNpy() narrows i8 to i32 where every value fits", () => {
  const values = BigInt64Array.of(-2147483648n, 2147483647n);
  const file = npyFile({ descr: "'<i8'", shape: "(2,)" }, values);

  assertEquals(decodeNpy(file, "q.npy"), {
    data: Int32Array.of(-2147483648, 2147483647),
    dtype: "i32",
    shape: [2],
  });
});

Deno.test("decodeNpy() reads format versions 2.0 and 3.0", () => {
  for (const version of [[2, 0], [3, 0]]) {
    assertEquals(decodeNpy(npyFile({ version }, SIX), "q.npy"), {
      data: SIX,
      dtype: "f32",
      shape: [2, 3],
    });
  }
});

Deno.test("decodeNpy() reads a header with its entries in another order", () => {
  const header = `{"shape": (6,), "descr": "<f4", "fortran_order": False}`;

  assertEquals(decodeNpy(npyFile({ header }, SIX), "q.npy").shape, [6]);
});

Deno.test("decodeNpy() reads bytes that start inside a larger buffer", () => {
  const file = npyFile({}, SIX);
  const larger = new Uint8Array(file.length + 3);
  larger.set(file, 1);

  assertEquals(decodeNpy(larger.subarray(1, 1 + file.length), "q.npy").data, SIX);
});

Deno.test("decodeNpy() accepts Fortran order where it equals C order", () => {
  const vector = `{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }`;
  const scalar = `{'descr': '<f4', 'fortran_order': True, 'shape': (), }`;

  assertEquals(decodeNpy(npyFile({ header: vector }, SIX), "q.npy").shape, [6]);
  assertEquals(decodeNpy(npyFile({ header: scalar }, SIX.subarray(0, 1)), "q.npy").shape, []);
});

Deno.test("decodeNpy() refuses a file that is not .npy", () => {
  assertEquals(
    refusal(Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0)),
    'Cannot read "q.npy" as a .npy file must begin with the bytes "\\x93NUMPY": current bytes are [50 4b 03 04 00 00]',
  );
});

Deno.test("decodeNpy() refuses an empty file", () => {
  assertEquals(
    refusal(new Uint8Array()),
    'Cannot read "q.npy" as a .npy file must begin with the bytes "\\x93NUMPY": current bytes are []',
  );
});

Deno.test("decodeNpy() refuses an unknown format version", () => {
  assertEquals(
    refusal(npyFile({ version: [4, 1] }, SIX)),
    'Cannot read "q.npy" as its format version must be 1.0, 2.0 or 3.0: current version is 4.1',
  );
});

Deno.test("decodeNpy() refuses a file that ends within its header", () => {
  const file = npyFile({}, SIX);

  assertEquals(
    refusal(file.subarray(0, 40)),
    'Cannot read "q.npy" as it must hold a whole header: the header ends at byte 70, the file has 40 bytes',
  );
  assertEquals(
    refusal(file.subarray(0, 7)),
    'Cannot read "q.npy" as it must hold a whole header: the header ends at byte 10, the file has 7 bytes',
  );
});

Deno.test("decodeNpy() refuses a header that is no dict", () => {
  assertEquals(
    refusal(npyFile({ header: "{'descr': '<f4'" })),
    `Cannot read "q.npy" as its header must give descr, fortran_order and shape: current header is "{'descr': '<f4'"`,
  );
});

Deno.test("decodeNpy() refuses a header with a missing entry or a bad shape", () => {
  const noOrder = "{'descr': '<f4', 'shape': (6,), }";
  const rule = 'Cannot read "q.npy" as its header must give descr, fortran_order and shape';

  assertEquals(
    refusal(npyFile({ header: noOrder }, SIX)),
    `${rule}: current header is "${noOrder}"`,
  );
  for (const shape of ["(-1, 6)", "(1.5,)", "6", "('a',)"]) {
    const header = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
    assertEquals(refusal(npyFile({ header }, SIX)), `${rule}: current header is "${header}"`);
  }
});

Deno.test("decodeNpy() refuses big-endian data", () => {
  assertEquals(
    refusal(npyFile({ descr: "'>f4'" }, SIX), TypeError),
    'Cannot read "q.npy" as its data must be little endian: current dtype is ">f4"',
  );
});

Deno.test("decodeNpy() refuses Fortran order", () => {
  const header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }";

  assertEquals(
    refusal(npyFile({ header }, SIX), TypeError),
    'Cannot read "q.npy" as its data must lie in C order: current order is Fortran, shape is [2, 3]',
  );
});

Deno.test("decodeNpy() refuses Python objects", () => {
  assertEquals(
    refusal(npyFile({ descr: "'|O'" }), TypeError),
    'Cannot read "q.npy" as its elements must be numbers, not Python objects: current dtype is "|O"',
  );
});

Deno.test("decodeNpy() refuses structured elements", () => {
  assertEquals(
    refusal(npyFile({ descr: "[('x', '<f4'), ('y', '<f4')]" }), TypeError),
    'Cannot read "q.npy" as its elements must be plain numbers: current dtype is structured, [["x","<f4"],["y","<f4"]]',
  );
});

Deno.test("decodeNpy() refuses other dtypes", () => {
  for (const descr of ["|b1", "|u1", "<u4", "<c8", "<U3", "toString"]) {
    assertEquals(
      refusal(npyFile({ descr: `'${descr}'` }), TypeError),
      `Cannot read "q.npy" as its dtype must be one of <f2, <f4, <f8, <i4, <i8: current dtype is "${descr}"`,
    );
  }
});

Deno.test("decodeNpy() refuses an i8 value that needs more than 32 bits", () => {
  const values = BigInt64Array.of(0n, -2147483649n);

  assertEquals(
    refusal(npyFile({ descr: "'<i8'", shape: "(2,)" }, values), RangeError),
    'Cannot read "q.npy" as its integers must fit in 32 bits: value at index 1 is -2147483649',
  );
});

Deno.test("decodeNpy() refuses truncated data", () => {
  assertEquals(
    refusal(npyFile({}, SIX).slice(0, -1)),
    'Cannot read "q.npy" as its data must fill its shape: shape [2, 3] of "<f4" needs 24 bytes, the data has 23',
  );
});

Deno.test("decodeNpy() refuses trailing bytes", () => {
  assertEquals(
    refusal(npyFile({ shape: "(5,)" }, SIX)),
    'Cannot read "q.npy" as its data must end with the last element of its shape: shape [5] of "<f4" needs 20 bytes, the data has 24',
  );
});

Deno.test("encodeNpy() writes what NumPy writes", () => {
  const bytes = encodeNpy({ data: Float32Array.of(1), shape: [1] });
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";

  assertEquals(
    new TextDecoder("latin1").decode(bytes.subarray(10, 128)),
    `${header.padEnd(117)}\n`,
  );
  assertEquals(
    bytes.subarray(0, 10),
    Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0),
  );
  assertEquals(bytes.subarray(128), Uint8Array.of(0, 0, 0x80, 0x3f));
});

Deno.test("encodeNpy() starts the data at a multiple of 64 for every length of header", () => {
  for (let rank = 0; rank < 32; rank++) {
    const bytes = encodeNpy({ data: Int32Array.of(1), shape: Array(rank).fill(1) });
    const headerBytes = new DataView(bytes.buffer).getUint16(8, true);

    assertEquals((10 + headerBytes) % 64, 0);
    assertEquals(bytes.length, 10 + headerBytes + 4);
  }
});

Deno.test("encodeNpy() writes a view's own elements", () => {
  const bytes = encodeNpy({ data: SIX.subarray(2, 4), shape: [2] });

  assertEquals(decodeNpy(bytes, "q.npy").data, Float32Array.of(3, 4));
});

Deno.test("encodeNpy() throws when the data does not fill its shape", () => {
  assertThrows(
    () => encodeNpy({ data: SIX, shape: [2, 2] }),
    TypeError,
    "Cannot write a .npy file as the data must fill its shape: shape [2, 2] has 4 elements, the data has 6",
  );
});
