/** What the header of a .npy file says about its data. */
export interface NpyHeader {
  /** The dtype as NumPy spells it, such as `"<f4"`. */
  descr: string;
  /** The size of every axis. */
  shape: number[];
  /** Offset of the first byte of data. */
  dataStart: number;
}

/** The first bytes of every .npy file. */
export const MAGIC = "\x93NUMPY";

/** Length in bytes of the header's length field, by format version. */
const LENGTH_BYTES: Record<string, number> = { "1.0": 2, "2.0": 4, "3.0": 4 };

/** Reads the header of a .npy file and checks that its data lies in C order. */
export function readNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  const magic = bytes.subarray(0, MAGIC.length);
  if (String.fromCharCode(...magic) !== MAGIC) {
    throw new SyntaxError(
      `Cannot read "${name}" as a .npy file must begin with the bytes "\\x93NUMPY": current bytes are [${
        hex(magic)
      }]`,
    );
  }
  const { textStart, dataStart } = locateText(bytes, name);
  const text = new TextDecoder().decode(bytes.subarray(textStart, dataStart));
  const { descr, fortranOrder, shape } = parseText(text, name);
  if (typeof descr !== "string") {
    throw new TypeError(
      `Cannot read "${name}" as its elements must be plain numbers: current dtype is structured, ${
        JSON.stringify(descr)
      }`,
    );
  }
  if (fortranOrder && shape.length > 1) {
    throw new TypeError(
      `Cannot read "${name}" as its data must lie in C order: current order is Fortran, shape is [${
        shape.join(", ")
      }]`,
    );
  }
  return { descr, shape, dataStart };
}

/** Finds the text of the header from version and length. */
function locateText(bytes: Uint8Array, name: string): { textStart: number; dataStart: number } {
  const versionEnd = MAGIC.length + 2;
  const version = bytes.subarray(MAGIC.length, versionEnd).join(".");
  const lengthBytes = LENGTH_BYTES[version];
  if (lengthBytes === undefined && bytes.length >= versionEnd) {
    throw new SyntaxError(
      `Cannot read "${name}" as its format version must be 1.0, 2.0 or 3.0: current version is ${version}`,
    );
  }
  const textStart = versionEnd + (lengthBytes ?? 2);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let dataStart = textStart;
  if (bytes.length >= textStart) {
    dataStart += lengthBytes === 2 ? view.getUint16(8, true) : view.getUint32(8, true);
  }
  if (bytes.length < dataStart) {
    throw new SyntaxError(
      `Cannot read "${name}" as it must hold a whole header: the header ends at byte ${dataStart}, the file has ${bytes.length} bytes`,
    );
  }
  return { textStart, dataStart };
}

/** The three entries of the header, a Python dict literal that is turned into JSON. */
function parseText(text: string, name: string): {
  descr: unknown;
  fortranOrder: boolean;
  shape: number[];
} {
  const json = text
    .replaceAll("'", '"')
    .replaceAll("(", "[")
    .replaceAll(")", "]")
    .replace(/\b(True|False)\b/g, (word) => word.toLowerCase())
    .replace(/,\s*([\]}])/g, "$1");
  try {
    const header: Record<string, unknown> = JSON.parse(json);
    const { descr, shape } = header;
    const fortranOrder = header.fortran_order;
    if (descr !== undefined && typeof fortranOrder === "boolean" && isShape(shape)) {
      return { descr, fortranOrder, shape };
    }
  } catch {
    // refused below
  }
  throw new SyntaxError(
    `Cannot read "${name}" as its header must give descr, fortran_order and shape: current header is ${
      JSON.stringify(text.trimEnd().slice(0, 120))
    }`,
  );
}

/** Whether a value lists sizes of axes. */
function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Bytes in hexadecimal. */
function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
