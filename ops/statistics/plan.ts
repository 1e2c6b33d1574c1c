import type { Program } from "../../gpu/program.ts";
import { blockMax, type BlockSizes } from "../../kernels/statistics/block_max.ts";
import { columnSums } from "../../kernels/statistics/columns.ts";
import { heldTokens, type StatisticsConfig } from "../../kernels/statistics/config.ts";
import { diagonalSums } from "../../kernels/statistics/diagonals.ts";
import { type RowStatistics, rowStatistics } from "../../kernels/statistics/rows.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { inputSources } from "../attention/sources.ts";
import type { Slice } from "../attention/tokens.ts";
import { once } from "../once.ts";
import { ACTION, type StatisticsProblem, type WantedStatistics } from "./problem.ts";
import { diagonalSlots, type Draft, slicesOf } from "./slices.ts";
import { pairTile, type PassKind } from "./tiles.ts";

/** One walk over all pairs. */
export interface StatisticsPass extends Draft {
  readonly program: Program;
  /** One dispatch each, in order: batch entries, queries, kv heads, and keys as `parts`. */
  readonly slices: readonly Slice[];
}

/** A device, and how many buffers a program may bind. */
export interface StatisticsDevice extends PlanDevice {
  readonly maxBindings: number;
}

/** How statistics will be computed; no GPU was touched. */
export interface StatisticsPlan {
  readonly passes: readonly StatisticsPass[];
}

/** What stands where a pass is not for blocks, or not for rows. */
const NO_BLOCKS: BlockSizes = { queryBlock: 1, keyBlock: 1 };
const NO_ROWS: RowStatistics = { lse: false, entropy: false, top: 0, argMax: false };

const programs = {
  rows: once(({ config, rows }: Draft) => rowStatistics(config, rows)),
  columns: once(({ config }: Pick<Draft, "config">) => columnSums(config)),
  diagonals: once(({ config }: Pick<Draft, "config">) => diagonalSums(config)),
  blocks: once(({ config, blocks }: Pick<Draft, "config" | "blocks">) => blockMax(config, blocks)),
};

/**
 * Plans the passes: rows first, as later ones need their lse; each is cut so that its dispatches heed
 * the limits of the device: bytes of bindings, workgroups of an axis, loop iterations, and time.
 *
 * @throws RangeError if an output does not fit a binding
 */
export function planStatistics(
  problem: StatisticsProblem,
  device: StatisticsDevice,
): StatisticsPlan {
  const { columnSums, diagonalSums, blockMax } = problem.wanted;
  const pass = (kind: PassKind, rows = NO_ROWS): StatisticsPass =>
    planPass(problem, device, { kind, rows });
  const passes = [
    ...rowPasses(problem.wanted, (rows) => pass("rows", rows), device),
    ...(columnSums ? [pass("columns")] : []),
    ...(diagonalSums ? [pass("diagonals")] : []),
    ...(blockMax !== null ? [pass("blocks")] : []),
  ];
  return { passes };
}

/** All statistics of rows in one pass, or in two where a program cannot bind as many outputs. */
function rowPasses(
  { lse, entropy, argMax, topK, columnSums, diagonalSums }: WantedStatistics,
  pass: (rows: RowStatistics) => StatisticsPass,
  { maxBindings }: StatisticsDevice,
): StatisticsPass[] {
  const sums = { ...NO_ROWS, lse: lse || entropy || columnSums || diagonalSums, entropy };
  const tops = { ...NO_ROWS, top: Math.max(topK, Number(argMax)), argMax: argMax && topK > 0 };
  const wanted = [...(sums.lse ? [sums] : []), ...(tops.top > 0 ? [tops] : [])];
  if (wanted.length < 2) return wanted.map(pass);
  const joint = pass({ ...sums, top: tops.top, argMax: tops.argMax });
  const buffers = joint.program.bindings.filter(({ access }) => access !== "texture").length;
  return buffers <= maxBindings ? [joint] : wanted.map(pass);
}

function planPass(
  problem: StatisticsProblem,
  device: StatisticsDevice,
  { kind, rows }: Pick<StatisticsPass, "kind" | "rows">,
): StatisticsPass {
  const { scores, wanted } = problem;
  const { batch, qLen, heads, kvLen, kvHeads, headDim, elem } = scores;
  const needs = { kind, top: rows.top };
  const most = batch * Math.max(qLen * heads, kvLen * kvHeads);
  const config: StatisticsConfig = {
    ...{ elem, headDim },
    band: { banded: scores.band !== null, hooked: scores.hooks.masks.length > 0 },
    softcap: scores.softcap !== null,
    bias: scores.bias?.elem ?? null,
    hooks: scores.hooks,
    source: inputSources({ rows: most, widths: [headDim], copyable: scores.copyable }, device)[0],
    tile: pairTile(problem, device, needs),
  };
  const draft = { kind, config, rows, blocks: wanted.blockMax ?? NO_BLOCKS };
  checkOutputs(problem, draft, device);
  return { ...draft, program: programOf(draft), slices: slicesOf(problem, draft, device) };
}

function programOf({ kind, config, rows, blocks }: Draft): Program {
  switch (kind) {
    case "rows":
      return programs.rows({ kind, config, rows, blocks });
    case "columns":
      return programs.columns({ config });
    case "diagonals":
      return programs.diagonals({ config });
    case "blocks":
      return programs.blocks({ config, blocks });
  }
}

/** Refuses outputs that are bound whole and do not fit. */
function checkOutputs(
  { scores }: StatisticsProblem,
  { kind, config, blocks: { queryBlock, keyBlock } }: Draft,
  { limits }: PlanDevice,
): void {
  const { batch, heads, qLen, kvLen } = scores;
  const tile = heldTokens(config.tile);
  const elements = {
    rows: 0,
    columns: 0,
    diagonals: diagonalSlots(scores, tile) * 2 * tile,
    blocks: Math.ceil(qLen / queryBlock) * Math.ceil(kvLen / keyBlock),
  };
  const bytes = 4 * batch * heads * elements[kind];
  if (bytes <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot ${ACTION} as ${
      kind === "blocks" ? "blockMax" : "the sums of diagonals"
    } must fit one binding: ${bytes} bytes are needed, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}
