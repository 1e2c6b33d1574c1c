import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { chunkSizeOf } from "../../kernels/log_linear/config.ts";
import { inputWidth } from "../../kernels/log_linear/inputs.ts";
import { naiveLogLinearIterations } from "../../kernels/log_linear/naive.ts";
import { blockVectors } from "../../kernels/log_linear/pieces.ts";
import { scoreColumns } from "../../kernels/log_linear/scores.ts";
import { TREE_ITERATIONS } from "../../kernels/log_linear/tree.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { type Segment, sequencesOf } from "../segments.ts";
import type { LogLinearProblem } from "./problem.ts";
import {
  chooseLogLinearSchedule,
  groupOf,
  type LogLinearSchedule,
  type TiledLogLinear,
} from "./schedule.ts";

/** Tokens of a sequence that are computed together; `state` is the number of the sequence. */
export interface Piece extends Segment {
  /** Its first token, counted from the first of the sequence in this call. */
  readonly place: number;
  /** Most chunks that its tokens lie in. */
  readonly chunks: number;
}

/** How log-linear attention will be computed; no GPU was touched. */
export interface LogLinearPlan {
  readonly schedule: LogLinearSchedule;
  /** Pieces of each round, which finds the states that the one before left. */
  readonly rounds: readonly (readonly Piece[])[];
}

/** Tokens of a piece where nothing limits it. */
const UNCUT = 2 ** 30;

/** Chooses the schedule, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planLogLinear(problem: LogLinearProblem, device: PlanDevice): LogLinearPlan {
  const schedule = chooseLogLinearSchedule(problem, device);
  checkStates(problem, device.limits);
  if (schedule.kind !== "tiled") {
    const pieces = cut(problem, tokensOfWalk(problem, schedule, device.limits), 1);
    return { schedule, rounds: packed(pieces, () => 0, 1) };
  }
  const { maxStorageBufferBindingSize: largest } = device.limits;
  const bytes = bytesOf(problem, schedule);
  const longest = chunksOfPiece(bytes, device.limits) * chunkSizeOf(schedule);
  const pieces = cut(problem, longest, chunkSizeOf(schedule));
  return {
    schedule,
    rounds: packed(pieces, (chunks) => chunks * bytes.chunk + bytes.found, largest),
  };
}

/** Cuts sequences into pieces. */
function cut({ bounds, resumed }: LogLinearProblem, longest: number, chunkSize: number): Piece[] {
  return sequencesOf(bounds).flatMap(({ first, end, state }) => {
    const count = Math.max(1, Math.ceil((end - first) / longest));
    return Array.from({ length: count }, (_, i): Piece => {
      const place = i * longest;
      const tokens = Math.min(longest, end - first - place);
      const before = resumed && tokens > 0 ? chunkSize - 1 : 0;
      return {
        ...{ first: first + place, end: first + place + tokens, state, place },
        chunks: Math.ceil((tokens + before) / chunkSize),
      };
    });
  });
}

/** Fills rounds with pieces, each behind the one before of its sequence, up to so many bytes. */
function packed(
  pieces: readonly Piece[],
  bytesOf: (chunks: number) => number,
  most: number,
): Piece[][] {
  const rounds: Piece[][] = [[]];
  const left = [most];
  let at = 0;
  for (const piece of pieces) {
    const bytes = bytesOf(piece.chunks);
    at = piece.place === 0 ? 0 : at + 1;
    while (at < rounds.length && left[at] < bytes) at++;
    rounds[at] ??= [];
    left[at] = (left[at] ?? most) - bytes;
    rounds[at].push(piece);
  }
  return rounds;
}

/** Tokens that one loop walks before a driver would end it; a step has one in each launch. */
function tokensOfWalk(
  problem: LogLinearProblem,
  { kind }: LogLinearSchedule,
  limits: GpuLimits,
): number {
  const [token, beside] = naiveLogLinearIterations({ ...problem, group: groupOf(problem) });
  const walked = kind === "step" ? UNCUT : (0.9 * limits.maxLoopIterations - beside) / token;
  return Math.max(1, Math.floor(Math.min(walked, UNCUT, tokensOfBinding(problem, limits))));
}

/** Bytes that a chunk takes in one of two bindings, and that the levels take which a piece finds. */
interface RoundBytes {
  readonly chunk: number;
  readonly found: number;
}

function bytesOf(problem: LogLinearProblem, schedule: TiledLogLinear): RoundBytes {
  const { qHeads, heads, levels } = problem;
  const chunkSize = chunkSizeOf(schedule);
  const blocks = 16 * heads * blockVectors(problem);
  const scores = 16 * Math.max(qHeads, heads) * chunkSize * scoreColumns(chunkSize);
  return { chunk: Math.max(blocks, scores), found: levels * blocks };
}

/** Chunks that bindings hold, and one loop walks; a piece that begins inside a chunk touches one more. */
function chunksOfPiece(
  { chunk, found }: RoundBytes,
  { maxStorageBufferBindingSize: largest, maxLoopIterations }: GpuLimits,
): number {
  const [iterations, beside] = TREE_ITERATIONS;
  const walked = (0.9 * maxLoopIterations - beside) / iterations;
  const chunks = Math.floor(Math.min(2 ** 20, (largest - found) / chunk - 1, walked));
  if (chunks >= 1) return chunks;
  throw new RangeError(
    `Cannot plan log-linear attention as the levels of all heads and two chunks must fit one binding: they have ${
      found + 2 * chunk
    } bytes, the device allows ${largest}`,
  );
}

/** Tokens whose rows one binding holds, of whatever tensor has the longest. */
export function tokensOfBinding(problem: LogLinearProblem, limits: GpuLimits): number {
  const { qHeads, kHeads, heads, valueDim, inputs } = problem;
  const rows = { q: qHeads, k: kHeads, v: heads, g: heads, lambda: heads };
  const bytes = (["q", "k", "v", "g", "lambda"] as const).map((name) =>
    rows[name] * inputWidth(name, problem) * elementBytes(inputs[name])
  );
  const out = Math.max(qHeads, heads) * valueDim * elementBytes(inputs.q);
  const { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment } = limits;
  return largest / Math.max(out, ...bytes) - minStorageBufferOffsetAlignment;
}

/** States are bound whole. */
function checkStates(
  { bounds, heads, levels, keyDim, valueDim, resumed, final }: LogLinearProblem,
  { maxStorageBufferBindingSize: largest }: GpuLimits,
): void {
  const bytes = 4 * (bounds.length - 1) * heads * levels * keyDim * valueDim;
  if (!(resumed || final) || bytes <= largest) return;
  throw new RangeError(
    `Cannot plan log-linear attention as the states of all sequences must fit one binding: they have ${bytes} bytes, the device allows ${largest}`,
  );
}
