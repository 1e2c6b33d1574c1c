import type { GpuLimits } from "../../gpu/limits.ts";
import { elementBytes, volume } from "../../gpu/dtype.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { rope, ROPE_HEADS, ROPE_THREADS, ropeUnits } from "../../kernels/rope/rope.ts";
import { ropeTurns, TURNS_THREADS } from "../../kernels/rope/turns.ts";
import { bindsOf, type Bound, boundRows } from "../attention/bind.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { tokenTextures } from "../token_textures.ts";
import type { RopeProblem } from "./problem.ts";
import { turnFactor, turnsTable, wantedTable } from "./table.ts";

/** One call on its way to the device. */
export interface RopeLaunch {
  readonly problem: RopeProblem;
  readonly tensors: {
    readonly x: Tensor;
    readonly out: Tensor;
    readonly positions: Tensor | undefined;
    readonly frequencies: Tensor | undefined;
  };
  readonly device: Pick<PlanDevice, "adapter" | "limits">;
}

const programs = { rope: once(rope), turns: once(ropeTurns) };
const tableOf = once(turnsTable);

/** Tokens, of all batch entries, whose rows and positions one binding holds each. */
export function tokensOfBinding(problem: RopeProblem, limits: GpuLimits): number {
  const { heads, headDim, elem, sections, sharedPositions, positions, grid } = problem;
  const place = 4 * sections.length;
  const rows = Math.floor(rowsOfBinding(headDim * elementBytes(elem), limits) / heads);
  const tokens = positions === null || sharedPositions
    ? rows
    : Math.min(rows, rowsOfBinding(place, limits));
  const most = limits.maxStorageBufferBindingSize;
  if (tokens >= 1 && !(sharedPositions && volume(grid) * place > most)) return tokens;
  throw new RangeError(
    `Cannot plan rope as a token, and positions that batch entries share, must each fit one binding: there are ${heads} heads of ${headDim} and ${
      volume(grid)
    } tokens, the device allows ${most} bytes`,
  );
}

/** Records a checked call: an invocation for each token, four channels and eight heads. */
export function launchRope(operation: Operation, call: RopeLaunch, tokens: number): void {
  const { problem, tensors, device } = call;
  const { batch, grid, heads, headDim, elem, pairing, positions, sections, offset } = problem;
  const textures = tokenTextures(operation, device, { x: { tensor: tensors.x, width: headDim } });
  const config = {
    ...{ elem, width: headDim, pairing, positions, axes: sections.length },
    rotated: sections.reduce((sum, size) => sum + size, 0),
    sharedPositions: problem.sharedPositions,
    source: textures.x ? "texture" : "buffer",
  } as const;
  const [, sizeY = 1, sizeZ = 1] = sections.length === 1 ? [] : grid;
  const [offsetX, offsetY = 0, offsetZ = 0] = offset;
  const turns = turnsOf(operation, call);
  const all = batch * volume(grid);
  const items = ropeUnits(config) * Math.ceil(heads / ROPE_HEADS);
  for (let first = 0; first < all; first += tokens) {
    const end = Math.min(all, first + tokens);
    const binds = bindsOf(boundTo(call, first, end));
    const range = { first: first * items, end: end * items, threads: ROPE_THREADS };
    launchItems(operation, device.limits, range, {
      program: programs.rope(config),
      resources: {
        turns,
        ...binds.resources,
        ...textures,
      },
      params: {
        ...{ length: volume(grid), heads, sizeY, sizeZ, offsetX, offsetY, offsetZ },
        ...{ positionsFirst: 0 },
        ...binds.params,
      },
    });
  }
}

/** What a range of tokens binds. */
function boundTo(
  { problem, tensors, device: { limits } }: RopeLaunch,
  first: number,
  end: number,
): Record<string, Bound> {
  const { heads, headDim, sections, sharedPositions } = problem;
  const { x, out, positions } = tensors;
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const rows = [first * heads, end * heads] as const;
  return {
    x: boundRows(x, rows, headDim, alignment),
    out: boundRows(out, rows, headDim, alignment),
    ...(positions && {
      positions: sharedPositions
        ? { resource: { buffer: positions.buffer }, first: 0 }
        : boundRows(positions, [first, end], sections.length, alignment),
    }),
  };
}

/** The table of turns: from the host, or made of frequencies on the device. */
function turnsOf(operation: Operation, { problem, tensors, device }: RopeLaunch): BufferRange {
  const { frequencies } = tensors;
  if (frequencies === undefined) {
    const { sections, interleaved, base, pairing, scaling } = problem;
    return operation.table(tableOf({ sections, interleaved, base, pairing, scaling }));
  }
  const rows = wantedTable(problem);
  const turns = operation.scratch(rows.byteLength);
  const items = { first: 0, end: rows.length / 4, threads: TURNS_THREADS };
  launchItems(operation, device.limits, items, {
    program: programs.turns({}),
    resources: {
      ...{ wanted: operation.table(rows), frequencies: { buffer: frequencies.buffer }, turns },
    },
    params: turnFactor(problem),
  });
  return turns;
}
