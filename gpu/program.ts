/** Type of a field of the parameter block; each takes four bytes. */
export type ParamType = "u32" | "i32" | "f32";

/** How a shader reaches a resource. */
export type Access = "read" | "read_write" | "texture";

/** Texels that kernels read: four f32, or f16 in words, four or eight of them. */
export type TexelFormat = "rgba32float" | "rg32uint" | "rgba32uint";

/** Texels in a row of a texture that holds a tensor. */
export const TEXTURE_WIDTH = 4096;

/** One resource of a program. */
export interface Binding {
  /** Name of the variable in the shader, and of the resource in a launch. */
  readonly name: string;
  /** `"texture"` reads texels of a 2-D storage texture instead of a buffer. */
  readonly access: Access;
  /** WGSL type, for example `array<vec4f>` or `texture_storage_2d<rgba32float, read>`. */
  readonly type: string;
}

/** A shader and what it binds: a plain value, made without a GPU. */
export interface Program {
  /** Name in error messages and captures. */
  readonly label: string;
  /** WGSL without `enable` directives. */
  readonly code: string;
  /** Resources in binding order; the parameter block comes after them. */
  readonly bindings: readonly Binding[];
  /** Fields of the uniform `params`, in order. */
  readonly params: Readonly<Record<string, ParamType>>;
  /** Whether the code uses subgroup built-ins. */
  readonly subgroups: boolean;
}

/** WGSL constants from plain values: numbers become `u32`, booleans `bool`. */
export function constants(values: Readonly<Record<string, number | boolean>>): string {
  return Object.entries(values)
    .map(([name, value]) =>
      typeof value === "boolean" ? `const ${name} = ${value};` : `const ${name} = ${value}u;`
    )
    .join("\n");
}

/**
 * Declares the bindings of a program in order, then its parameter block as `params`.
 *
 * Names are camel case here and snake case in the shader: `kvLen` is `params.kv_len`.
 */
export function declare(
  bindings: readonly Binding[],
  params: Readonly<Record<string, ParamType>>,
): string {
  const resources = bindings.map(({ name, access, type }, index) =>
    `@group(0) @binding(${index}) var${access === "texture" ? "" : `<storage, ${access}>`} ${
      snakeCase(name)
    }: ${type};`
  );
  const fields = Object.entries(params).map(([name, type]) => `  ${snakeCase(name)}: ${type},`);
  return [
    ...resources,
    "struct Params {",
    ...fields,
    "}",
    `@group(0) @binding(${bindings.length}) var<uniform> params: Params;`,
  ].join("\n");
}

/** The name of a binding or parameter as the shader spells it. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Bytes of the parameter block of a program. */
export function paramBytes(program: Program): number {
  let fields = 0;
  for (const _ in program.params) fields++;
  return Math.ceil(fields / 4) * 16;
}

/** Writes the values of a parameter block at an offset. */
export function writeParams(
  view: DataView,
  offset: number,
  program: Program,
  values: Readonly<Record<string, number>>,
): void {
  const { params } = program;
  let at = offset;
  for (const name in params) {
    const [type, value] = [params[name], values[name]];
    if (value === undefined) {
      throw new TypeError(
        `Cannot launch ${program.label} as every parameter must be set: ${name} is missing`,
      );
    }
    if (type === "f32") view.setFloat32(at, value, true);
    else if (type === "i32") view.setInt32(at, value, true);
    else view.setUint32(at, value, true);
    at += 4;
  }
}
