import type { Elem, InputSource } from "../shared/rows.ts";

/** The tensors of a token. */
export type LogLinearInput = "q" | "k" | "v" | "g" | "lambda";

/** What kernels of log-linear attention must know when they are compiled. */
export interface LogLinearConfig {
  /** Storage of the inputs; the output has that of q. */
  readonly inputs: Readonly<Record<LogLinearInput, Elem>>;
  /** K. */
  readonly keyDim: number;
  /** V. */
  readonly valueDim: number;
  /** L. */
  readonly levels: number;
  /** Whether sequences have had tokens before: as many as a tensor says. */
  readonly resumed: boolean;
}

/** What kernels that load and store states must know when they are compiled. */
export interface LogLinearStateConfig extends LogLinearConfig {
  /** Whether states have V before K. */
  readonly valueFirst: boolean;
}

/** How a workgroup is laid out. */
export interface LogLinearTile {
  /** How rows that all invocations need reach them: each loads a share of them, or all of them. */
  readonly exchange: "subgroup" | "direct";
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** Tokens of an invocation; all those of a workgroup are a chunk. */
  readonly rows: number;
  /** vec4 columns of an invocation. */
  readonly columns: number;
}

/** What kernels that walk chunks must know when they are compiled. */
export interface LogLinearChunkConfig extends LogLinearConfig {
  /** Tokens of a chunk, a power of two: chunks begin at its multiples, counted over a sequence. */
  readonly chunkSize: number;
}

/** The same, with the layout of a workgroup. */
export interface LogLinearTileConfig extends LogLinearConfig, LogLinearTile {
  /** Where rows of q, k and v are read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup of kernels without a tile. */
export const LOG_LINEAR_THREADS = 64;

/** Tokens of a chunk. */
export function chunkSizeOf({ lanes, rows }: Pick<LogLinearTile, "lanes" | "rows">): number {
  return lanes * rows;
}

/** Constants of the sizes of states. */
export function stateSizes({ keyDim, valueDim, levels }: LogLinearConfig): Record<string, number> {
  return {
    KEYS: keyDim,
    VALUES: valueDim,
    LEVELS: levels,
    D4: Math.ceil(keyDim / 4),
    V4: Math.ceil(valueDim / 4),
  };
}
