import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { LoopPass } from "../../kernels/recurrence/pass.ts";
import type { Round, Segment } from "../segments.ts";
import { type CarriedStates, launchCarry, launchChunkStates } from "./carry.ts";
import { launchPass, type RecurrenceCall, textureInputs, type Textures } from "./pass.ts";
import { copied, copyState, scratchState } from "./states.ts";

/** Records a planned call: each round finds the states that the one before left. */
export function launchRecurrence(operation: Operation, call: RecurrenceCall): void {
  const { problem, plan, tensors } = call;
  const inputs = { ...textureInputs(operation, call), ...textureState(operation, call) };
  const carried = tensors.final ??
    (plan.rounds.length > 1 ? scratchState(operation, problem) : null);
  if (tensors.initial && carried && tensors.initial.s !== carried.s) {
    copyState(operation, problem, tensors.initial, carried);
  }
  plan.rounds.forEach((round, i) => {
    const states: CarriedStates = {
      buffers: carried ?? tensors.initial,
      initial: i > 0 || problem.initial,
      final: carried !== null,
    };
    if (round.chunks === null) launchWalk(operation, call, inputs, round.pieces, states);
    else launchChunks(operation, call, inputs, round, states);
  });
}

/** Copies the states that a step finds into a texture, where its schedule reads from there. */
function textureState(
  operation: Operation,
  { problem, plan, tensors }: RecurrenceCall,
): Textures {
  const { schedule } = plan;
  const state = tensors.initial?.s;
  if (schedule.kind !== "step" || schedule.source === "buffer" || !state) return {};
  const { bounds, heads, keyDim, valueDim } = problem;
  const texels = (bounds.length - 1) * heads * keyDim * valueDim / 4;
  return { initialState: operation.texture(state, [[0, texels]], "rgba32float") };
}

/** The chunks of a round: what each adds, what each finds, what each gives. */
function launchChunks(
  operation: Operation,
  call: RecurrenceCall,
  inputs: Textures,
  { chunks, chunkRanges }: Round,
  states: CarriedStates,
): void {
  const { problem } = call;
  const segments = chunks ?? [];
  const own = { ...call, problem: { ...problem, valueFirst: false } };
  const local = launchChunkStates(operation, own, inputs, segments);
  launchCarry(operation, call, { local, chunkRanges, states });
  const found = { state: local.s, ...(problem.normalize && { sums: local.z }) };
  const pass = {
    initial: true,
    final: false,
    outputs: true,
    decays: false,
    writes: true,
    center: false,
    identity: false,
    series: problem.featureMap === "taylor2",
  };
  launchPass(operation, own, inputs, segments, pass, found);
}

/** Pieces of sequences from their first token to their last. */
function launchWalk(
  operation: Operation,
  call: RecurrenceCall,
  inputs: Textures,
  segments: readonly Segment[],
  { buffers, initial, final }: CarriedStates,
): void {
  const states: Record<string, BufferRange> = {};
  if (buffers && (initial || final)) states.state = { buffer: buffers.s };
  if (buffers?.z && initial) {
    states.sums = final ? copied(operation, call.problem, buffers.z) : { buffer: buffers.z };
  }
  if (buffers?.z && final) states.newSums = { buffer: buffers.z };
  const pass: LoopPass = {
    initial,
    final,
    outputs: true,
    decays: false,
    writes: true,
    center: false,
    identity: false,
    series: false,
  };
  launchPass(operation, call, inputs, segments, pass, states);
}
