import {
  type Access,
  type Binding,
  snakeCase,
  type TexelFormat,
  TEXTURE_WIDTH,
} from "../../gpu/program.ts";

/** Element types that kernels load and store. */
export type Elem = "f32" | "f16";

/** Where a kernel reads rows from. */
export type InputSource = "buffer" | "texture";

/** WGSL that reaches one tensor, and the binding that it needs. */
export interface Accessor {
  readonly binding: Binding;
  readonly code: string;
}

/** A tensor as rows of `width` elements: all axes but the last, flattened. */
export interface Rows {
  /** Name of the binding; the functions are `load_<name>` and `store_<name>`, in snake case. */
  readonly name: string;
  readonly elem: Elem;
  readonly width: number;
  /** Whether what is stored as f16 may be infinite: WGSL leaves open how that is packed. */
  readonly infinite?: boolean;
}

/** Whether rows start on whole `vec4`s. */
export function aligned(width: number): boolean {
  return width % 4 === 0;
}

const UNPACK = "vec4f(unpack2x16float(x.x), unpack2x16float(x.y))";

/** The texels of rows, and how many elements each holds: drivers fetch a large one once for all. */
export function texelsOf(elem: Elem, width: number): { format: TexelFormat; elements: 4 | 8 } {
  if (elem === "f32") return { format: "rgba32float", elements: 4 };
  return width % 8 === 0
    ? { format: "rgba32uint", elements: 8 }
    : { format: "rg32uint", elements: 4 };
}

/**
 * Makes `load_<name>(row, c) -> vec4f`: columns 4c to 4c + 3 of a row, zero beyond the width.
 *
 * f16 is read as words and unpacked, so it needs no device feature. A texture holds one vec4 per
 * texel (only where rows are aligned), or eight f16, which compilers load once for both halves where c
 * is a literal: llvmpipe reads texels of a storage texture several times faster than it loads from
 * buffers (docs/performance.md).
 */
export function reader({ name, elem, width }: Rows, source: InputSource): Accessor {
  const id = snakeCase(name);
  const columns = Math.ceil(width / 4);
  const head = `fn load_${id}(row: u32, c: u32) -> vec4f {`;
  if (source === "texture" && aligned(width)) {
    const { format, elements } = texelsOf(elem, width);
    const texel = `textureLoad(${id}, ${
      texelAt(width / elements, elements === 8 ? "c / 2u" : "c")
    })`;
    const half = elements === 8 ? "let x = select(y.xy, y.zw, c % 2u == 1u);" : "let x = y;";
    return accessor(name, "texture", `texture_storage_2d<${format}, read>`, [
      head,
      elem === "f32" ? `  return ${texel};` : `  let y = ${texel}; ${half} return ${UNPACK};`,
    ]);
  }
  if (aligned(width)) {
    const at = `${id}[(row - params.${id}_first) * ${columns}u + c]`;
    return elem === "f32"
      ? accessor(name, "read", "array<vec4f>", [head, `  return ${at};`])
      : accessor(name, "read", "array<vec2u>", [head, `  let x = ${at}; return ${UNPACK};`]);
  }
  const { binding, code } = elementReader({ name, elem, width });
  return { binding, code: [code, raggedLoad(id, width)].join("\n") };
}

/** `texel_<name>(row, t) -> array<vec4f, 2>`: both halves of a texel of eight f16, fetched once. */
export function texelReader({ name, width }: Rows): string {
  const id = snakeCase(name);
  return `fn texel_${id}(row: u32, t: u32) -> array<vec4f, 2> {
  let y = textureLoad(${id}, ${texelAt(width / 8, "t")});
  let first = vec4f(unpack2x16float(y.x), unpack2x16float(y.y));
  return array<vec4f, 2>(first, vec4f(unpack2x16float(y.z), unpack2x16float(y.w)));
}`;
}

/** The place of texel c of a row; rows that lie in one line of the texture share all but an addition. */
function texelAt(texels: number, c: string): string {
  const rows = TEXTURE_WIDTH / texels;
  if (Number.isInteger(rows)) return `vec2u(row % ${rows}u * ${texels}u + ${c}, row / ${rows}u)`;
  const at = `(row * ${texels}u + ${c})`;
  return `vec2u(${at} % ${TEXTURE_WIDTH}u, ${at} / ${TEXTURE_WIDTH}u)`;
}

/** Makes `element_<name>(row, d) -> f32`. */
export function elementReader({ name, elem, width }: Rows): Accessor {
  const id = snakeCase(name);
  const element = elem === "f32" ? `${id}[e]` : `unpack2x16float(${id}[e >> 1u])[e & 1u]`;
  return accessor(name, "read", elem === "f32" ? "array<f32>" : "array<u32>", [
    `fn element_${id}(row: u32, d: u32) -> f32 {`,
    `  let e = (row - params.${id}_first) * ${width}u + d;`,
    `  return ${element};`,
  ]);
}

function raggedLoad(id: string, width: number): string {
  const columns = [0, 1, 2, 3].map((i) => `column_${id}(row, 4u * c + ${i}u)`);
  return [
    `fn column_${id}(row: u32, d: u32) -> f32 {`,
    `  if d >= ${width}u { return 0.0; }`,
    `  return element_${id}(row, d);`,
    "}",
    `fn load_${id}(row: u32, c: u32) -> vec4f { return vec4f(${columns.join(", ")}); }`,
  ].join("\n");
}

/** Makes `store_<name>(row, c, x: vec4f)`, the counterpart of {@linkcode reader}. */
export function writer({ name, elem, width, infinite = false }: Rows): Accessor {
  const id = snakeCase(name);
  const columns = Math.ceil(width / 4);
  const head = `fn store_${id}(row: u32, c: u32, x: vec4f) {`;
  if (aligned(width)) {
    const at = `${id}[(row - params.${id}_first) * ${columns}u + c]`;
    return elem === "f32"
      ? accessor(name, "read_write", "array<vec4f>", [head, `  ${at} = x;`])
      : accessor(name, "read_write", "array<vec2u>", [
        packing(id, infinite),
        head,
        `  ${at} = vec2u(pack_${id}(x.xy), pack_${id}(x.zw));`,
      ]);
  }
  const { binding, code } = elementWriter({ name, elem, width, infinite });
  const puts = ["x", "y", "z", "w"].map((x, i) => `  put_${id}(row, 4u * c + ${i}u, x.${x});`);
  return { binding, code: [code, head, ...puts, "}"].join("\n") };
}

/** Makes `put_<name>(row, d, x: f32)`, which ignores columns beyond the width. */
export function elementWriter({ name, elem, width, infinite = false }: Rows): Accessor {
  const id = snakeCase(name);
  // neighbouring rows may share a word of two f16: each side replaces its own half
  const put = elem === "f32" ? [`  ${id}[e] = x;`] : [
    "  let shift = 16u * (e & 1u);",
    `  atomicAnd(&${id}[e >> 1u], ~(0xffffu << shift));`,
    `  atomicOr(&${id}[e >> 1u], (pack_${id}(vec2f(x, 0.0)) & 0xffffu) << shift);`,
  ];
  return accessor(name, "read_write", elem === "f32" ? "array<f32>" : "array<atomic<u32>>", [
    ...(elem === "f16" ? [packing(id, infinite)] : []),
    `fn put_${id}(row: u32, d: u32, x: f32) {`,
    `  if d >= ${width}u { return; }`,
    `  let e = (row - params.${id}_first) * ${width}u + d;`,
    ...put,
  ]);
}

/** `pack_<name>(x)`: two f16 as a word. */
function packing(id: string, infinite: boolean): string {
  const head = `fn pack_${id}(x: vec2f) -> u32 {`;
  if (!infinite) return `${head} return pack2x16float(x); }`;
  return `${head}
  let words = pack2x16float(x);
  var halves = vec2u(words & 0xffffu, words >> 16u);
  halves = select(halves, vec2u(0x7c00u), x >= vec2f(65520.0));
  halves = select(halves, vec2u(0xfc00u), x <= vec2f(-65520.0));
  return halves.x | (halves.y << 16u);
}`;
}

function accessor(name: string, access: Access, type: string, lines: string[]): Accessor {
  return { binding: { name, access, type }, code: [...lines, "}"].join("\n") };
}
