import { TEXTURE_WIDTH } from "../../gpu/program.ts";
import { aligned, type InputSource } from "../../kernels/shared/rows.ts";
import { defaultsOf } from "../defaults.ts";
import { FEW_ROWS } from "./class.ts";
import { namedKeys } from "./key_layout.ts";
import { boundKeys } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import type { PlanDevice } from "./schedule.ts";
import { keysOfBinding } from "./tokens.ts";

/** Where a problem and a device let kernels read q, k and v, the faster one first. */
export function attentionSources(problem: AttentionProblem, device: PlanDevice): InputSource[] {
  const { batch, qLen, heads, kvLen, kvHeads, headDim, valueDim, additional } = problem;
  const stored = namedKeys(problem.keys) ?? batch * Math.max(kvLen, additional?.count ?? 0);
  const rows = Math.max(batch * qLen * heads, stored * kvHeads);
  const found = inputSources(
    { rows, widths: [headDim, valueDim], copyable: problem.copyable },
    device,
  );
  if (found.length > 1 && !fitsOneBinding(problem, device)) return ["texture"];
  // a copy of all keys costs more than slow loads of a few
  return walksFew(problem) ? ["buffer", ...found.filter((source) => source !== "buffer")] : found;
}

/** Whether the keys fit a binding where all of them must be bound. */
function fitsOneBinding(problem: AttentionProblem, { limits }: PlanDevice): boolean {
  return problem.keys.kind === "row" ||
    boundKeys(problem) <= keysOfBinding(problem, "buffer", limits);
}

/** Whether queries walk a small part of the keys that are stored, few times. */
function walksFew({ keys, batch, qLen, kvLen }: AttentionProblem): boolean {
  if (keys.kind !== "cache" || qLen > FEW_ROWS) return false;
  const { capacity, tableHeads } = keys;
  return FEW_KEYS * batch * capacity * tableHeads <= (namedKeys(keys) ?? batch * kvLen);
}

/** Stored keys for each that is walked from which all of them are not copied. */
const FEW_KEYS = 4;

/** Rows that a kernel may read from textures. */
export interface SourceRows {
  /** Rows of the tensor that has most. */
  readonly rows: number;
  readonly widths: readonly number[];
  /** Whether all may be copied. */
  readonly copyable: boolean;
}

/** The sources that rows and a device allow, the faster one first. */
export function inputSources(
  { rows, widths, copyable }: SourceRows,
  { adapter, limits }: Pick<PlanDevice, "adapter" | "limits">,
): InputSource[] {
  const texels = rows * Math.max(...widths) / 4;
  const possible = copyable && widths.every(aligned) &&
    texels <= (limits.maxTextureDimension2D - 2) * TEXTURE_WIDTH;
  if (!possible) return ["buffer"];
  return defaultsOf(adapter).source === "texture" ? ["texture", "buffer"] : ["buffer", "texture"];
}
