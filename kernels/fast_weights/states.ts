import { type Binding, snakeCase } from "../../gpu/program.ts";
import { aligned } from "../shared/rows.ts";
import type { FastConfig } from "./config.ts";

/** A matrix or a row for each state head of each sequence. */
interface Stored {
  readonly name: string;
  readonly there: boolean;
  /** WGSL of how many rows it has. */
  readonly rows: "KEYS" | "1u" | "(KEYS + 1u)";
  readonly valueFirst: boolean;
}

/** WGSL, and the bindings that it needs. */
export interface StoredParts {
  readonly bindings: readonly Binding[];
  readonly code: string;
}

/**
 * The states of a rule, each as `get_<name>(row, d, e)` and `put_<name>(row, d, e, x)` for elements, and
 * `load_<name>(row, d, c)` and `store_<name>(row, d, c, x)` for four columns from 4 c on.
 *
 * - `weights`: W of TTT, M of Titans
 * - `momentum`: S of Titans
 * - `bias`: c of TTT
 * - `pending`: what a mini-batch has where a segment ends in it: A and Σ G of TTT; what gradients are
 *   taken from, and how far it has decayed, of Titans
 */
export function fastStates(
  config: Pick<
    FastConfig,
    "rule" | "initial" | "final" | "parted" | "valueFirst" | "valueDim"
  >,
  momentum: boolean,
): StoredParts {
  const { rule, initial, final, parted, valueFirst, valueDim } = config;
  const there = initial || final;
  const ttt = rule === "ttt";
  const parts = [
    stored({ name: "weights", there, rows: "KEYS", valueFirst }, valueDim),
    stored(
      { name: "momentum", there: there && momentum && !ttt, rows: "KEYS", valueFirst },
      valueDim,
    ),
    stored({ name: "bias", there: there && ttt, rows: "1u", valueFirst: false }, valueDim),
    stored({ name: "pending", there: parted, rows: "(KEYS + 1u)", valueFirst: false }, valueDim),
  ];
  return {
    bindings: parts.flatMap(({ bindings }) => bindings),
    code: parts.map(({ code }) => code).join("\n"),
  };
}

function stored({ name, there, rows, valueFirst }: Stored, valueDim: number): StoredParts {
  const id = snakeCase(name);
  const [get, put, load, store] = [
    `fn get_${id}(row: u32, d: u32, e: u32) -> f32`,
    `fn put_${id}(row: u32, d: u32, e: u32, x: f32)`,
    `fn load_${id}(row: u32, d: u32, c: u32) -> vec4f`,
    `fn store_${id}(row: u32, d: u32, c: u32, x: vec4f)`,
  ];
  if (!there) {
    return {
      bindings: [],
      code: `${get} { return 0.0; }\n${put} {}\n${load} { return vec4f(); }\n${store} {}`,
    };
  }
  const outside = `d >= ${rows} || 4u * c >= VALUES`;
  const place = valueFirst
    ? `(row * VALUES + e) * ${rows} + d`
    : `(row * ${rows} + d) * VALUES + e`;
  const vectors = !valueFirst && aligned(valueDim);
  const at = `${id}[((row * ${rows} + d) * VALUES) / 4u + c]`;
  const code = vectors
    ? /* wgsl */ `
${get} { return ${id}[(${place}) / 4u][e % 4u]; }
${put} { ${id}[(${place}) / 4u][e % 4u] = x; }
${load} {
  if ${outside} { return vec4f(); }
  return ${at};
}
${store} {
  if ${outside} { return; }
  ${at} = x;
}`
    : /* wgsl */ `
${get} {
  if d >= ${rows} || e >= VALUES { return 0.0; }
  return ${id}[${place}];
}
${put} {
  if d < ${rows} && e < VALUES { ${id}[${place}] = x; }
}
${load} {
  return vec4f(get_${id}(row, d, 4u * c), get_${id}(row, d, 4u * c + 1u),
    get_${id}(row, d, 4u * c + 2u), get_${id}(row, d, 4u * c + 3u));
}
${store} {
  for (var i = 0u; i < 4u; i++) { put_${id}(row, d, 4u * c + i, x[i]); }
}`;
  const type = vectors ? "array<vec4f>" : "array<f32>";
  return { bindings: [{ name, access: "read_write", type }], code };
}
