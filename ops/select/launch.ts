import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { selectRows } from "../../kernels/select/rows.ts";
import { boundRows } from "../attention/bind.ts";
import { once } from "../once.ts";
import { planSelect, type SelectPlan } from "./plan.ts";
import type { SelectProblem } from "./problem.ts";
import { powerOfTwo, sortRows, writePlaces } from "./sort.ts";

const programOf = once(selectRows);

/** The tensors of a call. */
interface SelectTensors {
  readonly scores: Tensor;
  readonly indices: Tensor<"i32">;
  readonly counts: Tensor<"i32">;
  readonly found: Tensor<"i32">;
}

/** One call on its way to the device. */
interface SelectCall {
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
  const { axes, rows, places } = problem;
  const plan = planSelect(problem, gpu.limits);
  return record(gpu, operator, (operation) => {
    const indices = gpu.empty([...axes, places], "i32");
    const counts = gpu.empty(axes, "i32");
    const found = gpu.empty(axes, "i32");
    const tensors = { scores, indices, counts, found };
    for (let row = 0; row < rows; row += plan.rows) {
      launchRows(operation, { gpu, problem, plan, tensors }, [
        row,
        Math.min(rows, row + plan.rows),
      ]);
    }
    return { indices, counts, found };
  });
}

/** Records the selection from some rows. */
function launchRows(
  operation: Operation,
  { gpu, problem, plan, tensors }: SelectCall,
  [row0, row1]: readonly [number, number],
): void {
  const { elem, width, places, least, share } = problem;
  const { threads, tile, sorted, pairs } = plan;
  const { scores, indices, counts, found } = tensors;
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const elements = boundRows(scores, [row0 * width, row1 * width], 1, alignment);
  const written = boundRows(indices, [row0 * places, row1 * places], 1, alignment);
  const counted = boundRows(counts, [row0, row1], 1, alignment);
  const rows = row1 - row0;
  const list = sorted ? null : operation.scratch(8 * rows * pairs);
  operation.launch({
    program: programOf({ elem, share: share !== null, sorted, threads, tile }),
    resources: {
      scores: elements.resource,
      ...(list ? { list } : { indices: written.resource }),
      counts: counted.resource,
      found: boundRows(found, [row0, row1], 1, alignment).resource,
    },
    params: {
      ...{ row0, width, least, share: share ?? 0, limit: pairs },
      places: list ? pairs : places,
      sortSize: powerOfTwo(pairs),
      ...indexDigits(width),
      scoresFirst: elements.first,
      indicesFirst: written.first,
      countsFirst: counted.first,
    },
    grid: [rows, 1, 1],
  });
  if (list === null) return;
  const sortedRows = { pairs: list, rows, width: pairs, indices: width };
  sortRows(operation, sortedRows);
  writePlaces(operation, gpu, sortedRows, {
    ...{ indices: written.resource, length: places, inner: 1 },
    before: row0 * places - written.first,
  });
}
