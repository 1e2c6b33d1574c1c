import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { scanCarry } from "../../kernels/scan/carry.ts";
import { ELEMENT_BYTES, SCAN_THREADS } from "../../kernels/scan/element.ts";
import { scanStates } from "../../kernels/scan/states.ts";
import { scanWalk, type WalkPass } from "../../kernels/scan/walk.ts";
import { bindsOf, boundRows } from "../attention/bind.ts";
import { type Items, launchItems } from "../launch_items.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { once } from "../once.ts";
import { groupsOf, hullOf, type Segment, tableOf } from "../segments.ts";
import { tokenTextures } from "../token_textures.ts";
import { itemsOf } from "./class.ts";
import { rowsOf, type ScanPlan, tokensOfBinding } from "./plan.ts";
import type { ScanProblem } from "./problem.ts";

/** Tensors by the names that kernels have for them; a state without parts is `state`. */
export type Named = Readonly<Record<string, Tensor>>;

/** One call on its way to the device. */
export interface ScanLaunch {
  readonly problem: ScanProblem;
  readonly plan: ScanPlan;
  readonly inputs: Named;
  readonly outputs: Named;
  /** A state that is there; a table where it is the same for all. */
  readonly initial: Readonly<Record<string, Tensor | BufferRange>> | null;
  readonly final: Named | null;
  readonly device: Pick<PlanDevice, "adapter" | "limits">;
}

/** What a pass walks: segments, the same as a table, and the elements of their rows. */
interface Segments {
  readonly list: readonly Segment[];
  readonly table: BufferRange;
  readonly elements: BufferRange;
}

const programs = { walk: once(scanWalk), carry: once(scanCarry), states: once(scanStates) };

/** Records a planned call: each round finds the elements that the one before left. */
export function launchScan(operation: Operation, call: ScanLaunch): void {
  const { problem, plan, initial, final, device: { limits } } = call;
  const walk = { ...call, textures: inputTextures(operation, call) };
  const { rounds, carried } = plan;
  const items = itemsOf(problem);
  const elementsOf = (count: number): BufferRange =>
    operation.scratch(ELEMENT_BYTES * Math.max(1, count * items));
  const segmentsOf = (list: readonly Segment[], elements: BufferRange): Segments => ({
    ...{ list, table: operation.table(tableOf(list)), elements },
  });
  const elements = elementsOf(carried ? problem.bounds.length - 1 : 0);
  const chunkElements = elementsOf(Math.max(...rounds.map(({ chunks }) => chunks?.length ?? 0)));

  if (initial) launchStates(operation, call, elements, { from: "states", states: initial });
  rounds.forEach(({ pieces, chunks, chunkRanges }, i) => {
    const ends = {
      initial: i > 0 || initial !== null,
      final: i + 1 < rounds.length || final !== null,
    };
    if (chunks === null) {
      launchWalk(operation, walk, segmentsOf(pieces, elements), { ...ends, outputs: true });
      return;
    }
    // what each chunk does, what each finds, what each gives
    const parts = segmentsOf(chunks, chunkElements);
    launchWalk(operation, walk, parts, { initial: false, final: true, outputs: false });
    const { table } = segmentsOf(chunkRanges, elements);
    launchItems(operation, limits, itemsIn(0, chunkRanges.length * items), {
      program: programs.carry({ kind: problem.kind, ...ends }),
      resources: { sequences: table, chunks: chunkElements, elements },
      params: { items },
    });
    launchWalk(operation, walk, parts, { initial: true, final: false, outputs: true });
  });
  if (final) launchStates(operation, call, elements, { from: "elements", states: final });
}

/** Copies the inputs into textures, where a driver reads those faster. */
function inputTextures(
  operation: Operation,
  { problem, inputs, device }: ScanLaunch,
): Record<string, GPUTextureView> {
  const layout = rowsOf(problem);
  const rows = Object.entries(inputs).map(([name, tensor]) => [
    name,
    { tensor, width: layout[name].width },
  ]);
  return tokenTextures(operation, device, Object.fromEntries(rows));
}

/** Launches a pass over segments, as many of them at a time as bindings and grids hold. */
function launchWalk(
  operation: Operation,
  { problem, inputs, outputs, device: { limits }, textures }: ScanLaunch & {
    readonly textures: Readonly<Record<string, GPUTextureView>>;
  },
  { list, table, elements }: Segments,
  pass: WalkPass,
): void {
  const { kind, elem, weightElem, width, heads, reverse } = problem;
  const gateRows = pass.outputs ? problem.gateRows : null;
  const source = Object.keys(textures).length > 0 ? "texture" : "buffer";
  const program = programs.walk({
    ...{ kind, elem, weightElem, width, reverse, gateRows, source },
    ...pass,
  });
  const tensors = Object.entries(pass.outputs ? { ...inputs, ...outputs } : inputs);
  const layout = rowsOf(problem);
  const items = itemsOf(problem);
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const most = {
    tokens: tokensOfBinding(problem, limits),
    segments: limits.maxComputeWorkgroupsPerDimension,
  };
  for (const [first, end] of groupsOf(list, most)) {
    const [token0, token1] = hullOf(list.slice(first, end));
    const binds = bindsOf(Object.fromEntries(tensors.map(([name, tensor]) => {
      const { rows, width } = layout[name];
      return [name, boundRows(tensor, [token0 * rows, token1 * rows], width, alignment)];
    })));
    launchItems(operation, limits, itemsIn(first * items, end * items), {
      program,
      resources: {
        ...{ segments: table, elements },
        ...binds.resources,
        ...textures,
      },
      params: { heads, ...binds.params },
    });
  }
}

/** Makes elements of given states, or final states of the elements that are left. */
function launchStates(
  operation: Operation,
  { problem, device: { limits } }: ScanLaunch,
  elements: BufferRange,
  { from, states }: {
    readonly from: "states" | "elements";
    readonly states: NonNullable<ScanLaunch["initial"]>;
  },
): void {
  const { kind, width, bounds } = problem;
  const names = Object.keys(states);
  launchItems(operation, limits, itemsIn(0, (bounds.length - 1) * itemsOf(problem)), {
    program: programs.states({ kind, width, from }),
    resources: {
      elements,
      ...Object.fromEntries(names.map((name) => [name, rangeOf(states[name])])),
    },
    params: Object.fromEntries(names.map((name) => [`${name}First`, 0])),
  });
}

function rangeOf(memory: Tensor | BufferRange): BufferRange {
  return "dtype" in memory ? { buffer: memory.buffer } : memory;
}

const itemsIn = (first: number, end: number): Items => ({ first, end, threads: SCAN_THREADS });
