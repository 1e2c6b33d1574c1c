import type { Program } from "../../gpu/program.ts";
import type { Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { inputWidth } from "../../kernels/log_linear/inputs.ts";
import { bindsOf, type Bound, boundRows, type Resources } from "../attention/bind.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { groupsOf, hullOf, type Segment } from "../segments.ts";
import { type LogLinearPlan, type Piece, tokensOfBinding } from "./plan.ts";
import type { LogLinearProblem, LogLinearTensors } from "./problem.ts";

/** A state in memory. */
export interface StateBuffers {
  readonly s: GPUBuffer;
  readonly t: GPUBuffer;
}

/** One call on its way to the device. */
export interface LogLinearCall {
  readonly problem: LogLinearProblem;
  readonly plan: LogLinearPlan;
  readonly tensors: LogLinearTensors;
  readonly out: Tensor;
  readonly initial: StateBuffers | null;
  readonly final: StateBuffers | null;
  readonly device: Pick<PlanDevice, "adapter" | "limits">;
}

/** A row of a table of pieces. */
export interface TableRow {
  readonly piece: Piece;
  /** The first chunk of the piece among those of the round, and the number of the piece. */
  readonly row: number;
  readonly number: number;
  /** Tokens that the launch may read and write for it. */
  readonly reach: Segment;
}

/** What a launch for each row of a table runs and binds beside tokens, and its workgroups on x and y. */
export interface RowsLaunch {
  readonly program: Program;
  readonly resources: Readonly<Resources>;
  readonly params: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number];
}

/** Pieces as words of a table. */
export function tableOf(
  rows: readonly Pick<TableRow, "piece" | "row" | "number">[],
): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(rows.flatMap(({ piece: { first, end, place, state }, row, number }) => [
    ...[first, end, place, state],
    ...[row, number, 0, 0],
  ]));
}

/** Launches a program for rows of a table, as many of them at a time as bindings and grids hold. */
export function launchRows(
  operation: Operation,
  call: LogLinearCall,
  rows: readonly TableRow[],
  { program, resources, params, grid }: RowsLaunch,
): void {
  const { problem, device: { limits }, initial } = call;
  const { qHeads, kHeads, heads, scale } = problem;
  const pieces = operation.table(tableOf(rows));
  const reaches = rows.map(({ reach }) => reach);
  const tokens = Math.floor(tokensOfBinding(problem, limits));
  const most = { tokens, segments: limits.maxComputeWorkgroupsPerDimension };
  for (const [first, end] of groupsOf(reaches, most)) {
    const binds = bindsOf(boundTo(call, program, hullOf(reaches.slice(first, end))));
    operation.launch({
      program,
      resources: {
        pieces,
        ...(initial && { counts: { buffer: initial.t } }),
        ...binds.resources,
        ...resources,
      },
      params: {
        ...{ piece0: first, qHeads, kHeads, heads, scale, ...params },
        ...binds.params,
      },
      grid: [...grid, end - first],
    });
  }
}

/** Binds the tokens that a launch reads and writes. */
function boundTo(
  { problem, tensors, out, device: { limits } }: LogLinearCall,
  { bindings }: Program,
  [first, end]: readonly [number, number],
): Record<string, Bound> {
  const { qHeads, kHeads, heads, valueDim } = problem;
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const bound = (tensor: Tensor, perToken: number, width: number): Bound =>
    boundRows(tensor, [first * perToken, end * perToken], width, alignment);
  const rows = { q: qHeads, k: kHeads, v: heads, g: heads, lambda: heads };
  const all: Record<string, Bound> = { out: bound(out, Math.max(qHeads, heads), valueDim) };
  for (const name of ["q", "k", "v", "g", "lambda"] as const) {
    all[name] = bound(tensors[name], rows[name], inputWidth(name, problem));
  }
  return Object.fromEntries(bindings.flatMap(({ name }) => all[name] ? [[name, all[name]]] : []));
}
