import type { Program } from "../../gpu/program.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import {
  CARRY_THREADS,
  type CarryConfig,
  recurrenceCarry,
} from "../../kernels/recurrence/carry.ts";
import {
  CARRY_MATRIX_COLUMNS,
  recurrenceCarryMatrix,
} from "../../kernels/recurrence/carry_matrix.ts";
import type { LoopPass } from "../../kernels/recurrence/pass.ts";
import { once } from "../once.ts";
import { type Segment, tableOf } from "../segments.ts";
import { launchPass, type RecurrenceCall, type Textures } from "./pass.ts";
import type { StateBuffers } from "./states.ts";

/** Where chunks find states and leave them. */
export interface CarriedStates {
  readonly buffers: StateBuffers | null;
  readonly initial: boolean;
  readonly final: boolean;
}

/** What each chunk adds to its state, and by what its state decays: rows of scratch. */
export interface ChunkStates {
  readonly s: BufferRange;
  readonly z: BufferRange;
  readonly decays: BufferRange;
  readonly products: BufferRange;
  /** What a chunk that erases makes of the unit matrix, `[chunks, HV, K, K]`. */
  readonly transitions: BufferRange | null;
}

const programs = { carry: once(recurrenceCarry), matrix: once(recurrenceCarryMatrix) };

/** Records what each chunk adds to a state of 0. */
export function launchChunkStates(
  operation: Operation,
  call: RecurrenceCall,
  textures: Textures,
  segments: readonly Segment[],
): ChunkStates {
  const { problem } = call;
  const { heads, keyDim, valueDim, normalize, gate, inputs } = problem;
  const rows = Math.max(1, segments.length * heads);
  const erases = problem.erase !== "none";
  const local: ChunkStates = {
    transitions: erases ? operation.scratch(4 * rows * keyDim * keyDim + 16) : null,
    s: operation.scratch(4 * rows * keyDim * valueDim + 16),
    z: operation.scratch(4 * rows * keyDim + 16),
    decays: operation.scratch(4 * rows * keyDim + 16),
    products: operation.scratch(4 * rows * valueDim + 16),
  };
  const pass: LoopPass = {
    initial: false,
    final: true,
    outputs: false,
    decays: !erases,
    writes: true,
    center: false,
    identity: false,
    series: false,
  };
  launchPass(operation, call, textures, segments, pass, {
    state: local.s,
    ...(normalize && { newSums: local.z }),
    ...(gate !== "none" && !erases && { decays: local.decays }),
    ...(inputs.gv && { products: local.products }),
  });
  if (local.transitions) {
    // the same tokens, with K columns of no values
    const { v: _v, writeGate: _gate, ...others } = inputs;
    const columns = { ...call, problem: { ...problem, valueDim: keyDim, inputs: others } };
    const unit = { ...pass, identity: true };
    launchPass(operation, columns, textures, segments, unit, { state: local.transitions });
  }
  return local;
}

/** Records the pass between chunks: what each adds becomes what each finds. */
export function launchCarry(
  operation: Operation,
  { problem, limits }: RecurrenceCall,
  { local, chunkRanges, states }: {
    readonly local: ChunkStates;
    /** For each sequence its first chunk, one past its last, and its state. */
    readonly chunkRanges: readonly Segment[];
    readonly states: CarriedStates;
  },
): void {
  const { heads, keyDim, valueDim, normalize, valueFirst } = problem;
  const { initial, final, buffers } = states;
  const [gated, valueGated] = [problem.gate !== "none", problem.inputs.gv !== undefined];
  const sequences = operation.table(tableOf(chunkRanges));
  const step = limits.maxComputeWorkgroupsPerDimension;
  const launch = (
    program: Program,
    workgroups: number,
    resources: Readonly<Record<string, BufferRange>>,
    state: GPUBuffer | null | undefined,
  ): void => {
    const own: Record<string, BufferRange> = state && (initial || final)
      ? { state: { buffer: state } }
      : {};
    for (let sequence0 = 0; sequence0 < chunkRanges.length; sequence0 += step) {
      operation.launch({
        program,
        resources: { sequences, ...resources, ...own },
        params: { sequence0, heads },
        grid: [workgroups, heads, Math.min(step, chunkRanges.length - sequence0)],
      });
    }
  };
  if (local.transitions) {
    const program = programs.matrix({ keyDim, valueDim, initial, final, valueFirst });
    const resources = { chunks: local.s, transitions: local.transitions };
    launch(program, Math.ceil(valueDim / CARRY_MATRIX_COLUMNS), resources, buffers?.s);
    return;
  }
  const carry = (
    config: Pick<CarryConfig, "valueDim" | "valueFirst" | "valueGated">,
    chunks: BufferRange,
    state: GPUBuffer | null | undefined,
  ): void => {
    const program = programs.carry({ keyDim, gated, initial, final, ...config });
    const resources = {
      chunks,
      ...(gated && { decays: local.decays }),
      ...(config.valueGated && { products: local.products }),
    };
    launch(program, Math.ceil(keyDim * config.valueDim / CARRY_THREADS), resources, state);
  };
  carry({ valueDim, valueFirst, valueGated }, local.s, buffers?.s);
  if (normalize) {
    carry({ valueDim: 1, valueFirst: false, valueGated: false }, local.z, buffers?.z);
  }
}
