import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { RANK_THREADS, selectRanks } from "../../kernels/select/ranks.ts";
import { selectRows } from "../../kernels/select/rows.ts";
import { type Bound, boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { planSelect, type SelectPlan } from "./plan.ts";
import type { SelectProblem } from "./problem.ts";
import { powerOfTwo, sortRows, writePlaces } from "./sort.ts";

const programs = { rows: once(selectRows), ranks: once(selectRanks) };

/** The tensors of a call. */
export interface SelectTensors {
  readonly scores: Tensor;
  readonly indices: Tensor<"i32">;
  readonly counts: Tensor<"i32">;
  readonly found: Tensor<"i32">;
}

/** One call on its way to the device. */
export interface SelectCall {
  readonly gpu: Gpu;
  readonly problem: SelectProblem;
  readonly plan: SelectPlan;
  readonly tensors: SelectTensors;
}

/** The bytes in which indices below a size differ, and the bits of their complement before them. */
export function indexDigits(size: number): Record<"indexDigits" | "indexPrefix", number> {
  const digits = Math.max(1, Math.ceil(Math.log2(Math.max(2, size)) / 8));
  return { indexDigits: digits, indexPrefix: digits === 4 ? 0 : 2 ** 32 - 2 ** (8 * digits) };
}

/** Plans and records a selection. */
export function select(
  operator: string,
  scores: Tensor,
  { problem, gpu }: { readonly problem: SelectProblem; readonly gpu: Gpu },
): Omit<SelectTensors, "scores"> {
  const { axes, places } = problem;
  const plan = planSelect(problem, gpu.limits);
  return record(gpu, operator, (operation) => {
    const indices = gpu.empty([...axes, places], "i32");
    const counts = gpu.empty(axes, "i32");
    const found = gpu.empty(axes, "i32");
    const tensors = { scores, indices, counts, found };
    launchSelection(operation, { gpu, problem, plan, tensors });
    return { indices, counts, found };
  });
}

/** Records a planned call. */
export function launchSelection(operation: Operation, call: SelectCall): void {
  const { problem: { rows }, plan } = call;
  const launch = plan.ranked ? launchRanks : launchRows;
  for (let row = 0; row < rows; row += plan.rows) {
    launch(operation, call, [row, Math.min(rows, row + plan.rows)]);
  }
}

/** Binds some rows of the tensors of a call. */
function boundTensors(
  { gpu, problem: { width, places }, tensors: { scores, indices, counts, found } }: SelectCall,
  [row0, row1]: readonly [number, number],
): Record<keyof SelectTensors, Bound> {
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  return {
    scores: boundRows(scores, [row0 * width, row1 * width], 1, alignment),
    indices: boundRows(indices, [row0 * places, row1 * places], 1, alignment),
    counts: boundRows(counts, [row0, row1], 1, alignment),
    found: boundRows(found, [row0, row1], 1, alignment),
  };
}

/** Records the selection from some short rows. */
function launchRanks(
  operation: Operation,
  call: SelectCall,
  rows: readonly [number, number],
): void {
  const { elem, width, places, least, share } = call.problem;
  const { scores, indices, counts, found } = boundTensors(call, rows);
  const items = Math.max(1, width, places); // the first one counts
  const [first, end] = rows.map((row) => row * items);
  launchItems(operation, call.gpu.limits, { first, end, threads: RANK_THREADS }, {
    program: programs.ranks({ elem, share: share !== null }),
    resources: {
      ...{ scores: scores.resource, indices: indices.resource },
      ...{ counts: counts.resource, found: found.resource },
    },
    params: {
      ...{ width, items, least, share: share ?? 0, places, scoresFirst: scores.first },
      ...{ indicesFirst: indices.first, countsFirst: counts.first },
    },
  });
}

/** Records the selection from some rows. */
function launchRows(
  operation: Operation,
  call: SelectCall,
  [row0, row1]: readonly [number, number],
): void {
  const { gpu, problem, plan } = call;
  const { elem, width, places, least, share } = problem;
  const { threads, tile, sorted, pairs } = plan;
  const { scores, indices, counts, found } = boundTensors(call, [row0, row1]);
  const rows = row1 - row0;
  const list = sorted ? null : operation.scratch(8 * rows * pairs);
  operation.launch({
    program: programs.rows({ elem, share: share !== null, sorted, threads, tile }),
    resources: {
      scores: scores.resource,
      ...(list ? { list } : { indices: indices.resource }),
      ...{ counts: counts.resource, found: found.resource },
    },
    params: {
      ...{ row0, width, least, share: share ?? 0, limit: pairs },
      places: list ? pairs : places,
      sortSize: powerOfTwo(pairs),
      ...indexDigits(width),
      scoresFirst: scores.first,
      indicesFirst: indices.first,
      countsFirst: counts.first,
    },
    grid: [rows, 1, 1],
  });
  if (list === null) return;
  const sortedRows = { pairs: list, rows, width: pairs, indices: width };
  sortRows(operation, sortedRows);
  writePlaces(operation, gpu, sortedRows, {
    ...{ indices: indices.resource, length: places, inner: 1 },
    before: row0 * places - indices.first,
  });
}
