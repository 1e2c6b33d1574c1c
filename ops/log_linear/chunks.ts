import type { Operation } from "../../gpu/recorder.ts";
import { chunkSizeOf, LOG_LINEAR_THREADS } from "../../kernels/log_linear/config.ts";
import { logLinearEntry } from "../../kernels/log_linear/entry.ts";
import { logLinearFinal } from "../../kernels/log_linear/final.ts";
import { logLinearOutputs } from "../../kernels/log_linear/outputs.ts";
import { blockVectors } from "../../kernels/log_linear/pieces.ts";
import { logLinearScores, scoreColumns } from "../../kernels/log_linear/scores.ts";
import { logLinearStates } from "../../kernels/log_linear/states.ts";
import { logLinearTree } from "../../kernels/log_linear/tree.ts";
import { once } from "../once.ts";
import type { Piece } from "./plan.ts";
import { launchRows, type LogLinearCall, type RowsLaunch, type TableRow } from "./rows.ts";
import type { TiledLogLinear } from "./schedule.ts";

/** A round of pieces, and the states that they find and leave where there are any. */
export interface LogLinearRound {
  readonly schedule: TiledLogLinear;
  readonly pieces: readonly Piece[];
  /** Copies of inputs, where those are read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
  readonly found: GPUBuffer | null;
  readonly left: GPUBuffer | null;
}

const programs = {
  entry: once(logLinearEntry),
  states: once(logLinearStates),
  tree: once(logLinearTree),
  scores: once(logLinearScores),
  outputs: once(logLinearOutputs),
  final: once(logLinearFinal),
};

/** Records the chunks of a round: what each adds, the tree of blocks, the outputs, the states left. */
export function launchChunks(
  operation: Operation,
  call: LogLinearCall,
  { schedule, pieces, textures, found, left }: LogLinearRound,
): void {
  const { keyDim, valueDim, levels, inputs, resumed, valueFirst, qHeads, heads } = call.problem;
  const { exchange, lanes, rows, columns } = schedule;
  const config = { keyDim, valueDim, levels, inputs, resumed };
  const source = Object.keys(textures).length > 0 ? "texture" : "buffer";
  const tiled = { ...config, exchange, lanes, rows, columns, source } as const;
  const chunkSize = chunkSizeOf(schedule);
  const tables = tablesOf(pieces, chunkSize);
  const outHeads = Math.max(qHeads, heads);
  const levelRows = found ? pieces.length * levels * heads : 0;
  const blockRows = levelRows + tables.chunks.length * heads;
  const blocks = operation.scratch(16 * Math.max(1, blockRows) * blockVectors(config));
  const scoreRows = Math.max(1, tables.chunks.length) * outHeads * chunkSize;
  const scores = operation.scratch(16 * scoreRows * scoreColumns(chunkSize));
  const launch = (
    table: readonly TableRow[],
    { resources, ...rest }: Omit<RowsLaunch, "params">,
  ): void =>
    launchRows(operation, call, table, {
      ...{ ...rest, resources: { blocks, ...resources }, params: { levelRows } },
    });
  const vectors = Math.ceil(valueDim / 4);
  const tiles = Math.ceil(vectors / columns);
  const items = (count: number): [number, number] => [
    ...[Math.ceil(count / LOG_LINEAR_THREADS), heads] as const,
  ];

  if (found) {
    launch(tables.whole, {
      program: programs.entry({ ...config, chunkSize, valueFirst }),
      resources: { state: { buffer: found } },
      grid: items(keyDim * vectors),
    });
  }
  launch(tables.chunks, {
    program: programs.states(tiled),
    resources: textures,
    grid: [Math.ceil(keyDim / (4 * lanes)) * tiles, heads],
  });
  launch(tables.whole, {
    program: programs.tree({ ...config, chunkSize }),
    resources: {},
    grid: items(keyDim * vectors),
  });
  const resources = { scores, ...textures };
  launch(tables.chunks, { program: programs.scores(tiled), resources, grid: [1, outHeads] });
  launch(tables.chunks, { program: programs.outputs(tiled), resources, grid: [tiles, outHeads] });
  if (left) {
    launch(tables.ends, {
      program: programs.final({ ...config, chunkSize, valueFirst }),
      resources: { state: { buffer: left } },
      grid: items(keyDim * valueDim),
    });
  }
}

/** Tables of whole pieces, of their chunks, and of their ends. */
function tablesOf(
  pieces: readonly Piece[],
  chunkSize: number,
): Readonly<Record<"whole" | "chunks" | "ends", TableRow[]>> {
  let row = 0;
  const whole = pieces.map((piece, number): TableRow => {
    const { first, state } = piece;
    const found = { piece, row, number, reach: { first, end: first, state } }; // reads no tokens
    row += piece.chunks;
    return found;
  });
  const clipped = ({ first, end, state }: Piece, from: number, to: number) => ({
    ...{ first: Math.max(first, from), end: Math.min(end, to), state },
  });
  return {
    whole,
    chunks: whole.flatMap(({ piece, row, number }) =>
      Array.from({ length: piece.chunks }, (_, i): TableRow => {
        // where a state was left inside a chunk, chunks begin up to one chunk earlier
        const from = piece.first + (i - 1) * chunkSize;
        return { piece, row, number, reach: clipped(piece, from, from + 2 * chunkSize) };
      })
    ),
    ends: whole.map(({ piece, row, number }) => ({
      ...{ piece, row, number, reach: clipped(piece, piece.end - chunkSize, piece.end) },
    })),
  };
}
