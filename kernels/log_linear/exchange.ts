import type { LogLinearTile } from "./config.ts";

/** WGSL that brings a row of COLS vec4, or four of them, to all invocations. */
export interface Handed {
  /** Loads the own share. */
  readonly load: string;
  /** The vec4 of column c, of row x. */
  readonly handed: string;
}

/** A row; `at` is the load of one of its vec4. */
export function handedRow(
  exchange: LogLinearTile["exchange"],
  at: (c: string) => string,
): Handed {
  if (exchange === "direct") return { load: "", handed: at("c") };
  return {
    load: /* wgsl */ `
    @registers var own: array<vec4f, (COLS + LANES - 1) / LANES>;
    @unroll for (var n = 0u; n < (COLS + LANES - 1) / LANES; n++) {
      own[n] = ${at("(n * LANES + lane) % COLS")};
    }`,
    handed: "subgroupBroadcast(own[c / LANES], c % LANES)",
  };
}

/** Four rows. */
export function handedRows(
  exchange: LogLinearTile["exchange"],
  at: (x: string, c: string) => string,
): Handed {
  if (exchange === "direct") return { load: "", handed: at("x", "c") };
  const index = "(n * LANES + lane)";
  return {
    load: /* wgsl */ `
    @registers var own_rows: array<vec4f, (4 * COLS + LANES - 1) / LANES>;
    @unroll for (var n = 0u; n < (4 * COLS + LANES - 1) / LANES; n++) {
      own_rows[n] = ${at(`(${index} / COLS % 4u)`, `${index} % COLS`)};
    }`,
    handed: "subgroupBroadcast(own_rows[(x * COLS + c) / LANES], (x * COLS + c) % LANES)",
  };
}
