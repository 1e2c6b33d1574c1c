import type { Operation } from "../../gpu/recorder.ts";
import { LOG_LINEAR_THREADS } from "../../kernels/log_linear/config.ts";
import { logLinearCount } from "../../kernels/log_linear/count.ts";
import { naiveLogLinear } from "../../kernels/log_linear/naive.ts";
import { LOG_LINEAR_STEP_COLUMNS, logLinearStep } from "../../kernels/log_linear/step.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { sequencesOf } from "../segments.ts";
import { tokenTextures } from "../token_textures.ts";
import { launchChunks } from "./chunks.ts";
import type { Piece } from "./plan.ts";
import type { LogLinearProblem } from "./problem.ts";
import { launchRows, type LogLinearCall, tableOf } from "./rows.ts";
import { groupOf } from "./schedule.ts";

const programs = {
  step: once(logLinearStep),
  naive: once(naiveLogLinear),
  count: once(logLinearCount),
};

/** Records a planned call: each round finds the states that the one before left. */
export function launchLogLinear(operation: Operation, call: LogLinearCall): void {
  const { problem, plan: { schedule, rounds }, initial, final } = call;
  const walks = schedule.kind !== "tiled"; // states that are there in any case
  const bytes = stateBytes(problem);
  const carried = final?.s ??
    (walks || rounds.length > 1 ? operation.scratch(Math.max(16, bytes)).buffer : null);
  if (initial && carried && initial.s !== carried) operation.copy(initial.s, carried, bytes);
  const textures = walks ? {} : inputTextures(operation, call);
  rounds.forEach((pieces, i) => {
    if (schedule.kind === "tiled") {
      const found = initial || i > 0 ? carried ?? initial?.s ?? null : null;
      launchChunks(operation, call, { schedule, pieces, textures, found, left: carried });
    } else if (carried) {
      launchWalk(operation, call, pieces, carried);
    }
  });
  if (final) launchCount(operation, call, final.t);
}

/** Copies q, k and v into textures, where a driver reads those faster. */
function inputTextures(
  operation: Operation,
  { problem: { keyDim, valueDim }, tensors: { q, k, v }, device }: LogLinearCall,
): Record<string, GPUTextureView> {
  return tokenTextures(operation, device, {
    q: { tensor: q, width: keyDim },
    k: { tensor: k, width: keyDim },
    v: { tensor: v, width: valueDim },
  });
}

function stateBytes({ bounds, heads, levels, keyDim, valueDim }: LogLinearProblem): number {
  return 4 * (bounds.length - 1) * heads * levels * keyDim * valueDim;
}

/** Records a walk in place: token by token in steps, or all tokens of a piece in a loop. */
function launchWalk(
  operation: Operation,
  call: LogLinearCall,
  pieces: readonly Piece[],
  state: GPUBuffer,
): void {
  const { problem, plan: { schedule } } = call;
  const { heads, valueDim, keyDim, levels, inputs, resumed, valueFirst } = problem;
  const sizes = { keyDim, valueDim, levels, inputs, resumed, valueFirst };
  const config = { ...sizes, group: groupOf(problem) };
  const rows = pieces.map((piece) => ({ piece, row: 0, number: 0, reach: piece }));
  const step = schedule.kind === "step";
  const columns = step ? LOG_LINEAR_STEP_COLUMNS : 4 * LOG_LINEAR_THREADS;
  // all sequences of a step have as many tokens
  const launches = step ? Math.max(0, ...pieces.map(({ first, end }) => end - first)) : 1;
  for (let token = 0; token < launches; token++) {
    launchRows(operation, call, rows, {
      program: step ? programs.step(config) : programs.naive(config),
      resources: { state: { buffer: state } },
      params: { token },
      grid: [Math.ceil(valueDim / columns), heads],
    });
  }
}

/** Records how many tokens each sequence has had. */
function launchCount(
  operation: Operation,
  { problem: { bounds, resumed }, initial, device: { limits } }: LogLinearCall,
  counts: GPUBuffer,
): void {
  const sequences = sequencesOf(bounds);
  if (initial && initial.t !== counts) operation.copy(initial.t, counts, 4 * sequences.length);
  const rows = sequences.map((sequence) => ({
    ...{ piece: { ...sequence, place: 0, chunks: 0 }, row: 0, number: 0 },
  }));
  const items = { first: 0, end: sequences.length, threads: LOG_LINEAR_THREADS };
  launchItems(operation, limits, items, {
    program: programs.count({ resumed }),
    resources: { pieces: operation.table(tableOf(rows)), counts: { buffer: counts } },
    params: {},
  });
}
