import type { Operation } from "../../gpu/recorder.ts";
import type { Program } from "../../gpu/program.ts";
import { MERGE_THREADS, mergeParts } from "../../kernels/attention/merge.ts";
import { splitAttention } from "../../kernels/attention/split.ts";
import { subgroupAttention } from "../../kernels/attention/subgroup.ts";
import { workgroupAttention } from "../../kernels/attention/workgroup.ts";
import { once } from "../once.ts";
import {
  type AttentionCall,
  type Bound,
  boundInputs,
  boundRows,
  boundScores,
  queryRows,
  textureInputs,
  texturePiece,
} from "./bind.ts";
import { launchNaive, naivePrograms } from "./launch_naive.ts";
import { hookParams } from "./hooks.ts";
import { sharedParams, sliceParams } from "./params.ts";
import type { AttentionPlan } from "./plan.ts";
import type { AttentionProblem } from "./problem.ts";
import { headsOfRow, length, type Slice } from "./tokens.ts";

/** Where the rows of a round are written: the outputs, or scratch for parts that are merged. */
interface Outputs {
  readonly out: Bound;
  readonly lse: Bound | null;
  /** Rows between two parts. */
  readonly partRows: number;
}

const mergeProgram = once(mergeParts);
const tiledPrograms = {
  subgroup: once(subgroupAttention),
  workgroup: once(workgroupAttention),
  split: once(splitAttention),
};

/** The programs that a plan runs, in order. */
export function attentionPrograms(problem: AttentionProblem, plan: AttentionPlan): Program[] {
  if (plan.schedule.kind === "naive") return Object.values(naivePrograms(plan.config));
  const tiled = tiledProgram(plan);
  return plan.tokens.parts > 1 ? [tiled, mergeProgram(mergeConfig(problem))] : [tiled];
}

/** Records a planned call. */
export function launchAttention(operation: Operation, call: AttentionCall): void {
  if (call.plan.schedule.kind === "naive") launchNaive(operation, call);
  else launchTiled(operation, call);
}

function tiledProgram({ schedule, config }: AttentionPlan): Program {
  if (schedule.kind === "subgroup") return tiledPrograms.subgroup({ ...config, ...schedule });
  if (schedule.kind === "workgroup") return tiledPrograms.workgroup({ ...config, ...schedule });
  if (schedule.kind === "split") return tiledPrograms.split({ ...config, ...schedule });
  throw new TypeError(`Cannot tile attention with the schedule "${schedule.kind}"`);
}

function mergeConfig({ elem, valueDim, lse, weight }: AttentionProblem) {
  return { outElem: elem, valueDim, lse, rule: weight.rule };
}

function launchTiled(operation: Operation, call: AttentionCall): void {
  const { problem, plan } = call;
  const program = tiledProgram(plan);
  const textures = plan.config.source === "texture" ? textureInputs(operation, call) : null;
  const tables = Object.fromEntries(
    Object.entries(plan.tokens.tables ?? {}).map(([name, words]) => [name, operation.table(words)]),
  );
  for (const { rows, launches } of plan.rounds) {
    const partial = plan.tokens.parts > 1 ? partialOutputs(operation, rows, call) : null;
    const outputs = partial ?? finalOutputs(rows, call);
    for (const slice of launches) {
      const inputs = textures ?? boundInputs(slice, call);
      const piece = texturePiece(operation, slice, call);
      const scores = boundScores(slice, call);
      operation.launch({
        program,
        resources: {
          ...inputs.resources,
          ...piece?.resources,
          ...scores.resources,
          ...tables,
          out: outputs.out.resource,
          ...(outputs.lse && { lse: outputs.lse.resource }),
        },
        params: {
          ...sharedParams(problem),
          ...sliceParams(slice, problem, plan),
          ...hookParams(call.tensors.hooks),
          ...inputs.params,
          ...piece?.params,
          partRows: outputs.partRows,
          biasFirst: scores.first,
          outFirst: outputs.out.first,
          lseFirst: outputs.lse?.first ?? 0,
        },
        grid: grid(slice, problem, plan),
      });
      // the next launch may fill them again
      for (const texture of Object.values(piece?.resources ?? {})) operation.giveBack(texture);
    }
    if (partial) merge(operation, rows, partial, call);
  }
}

function grid(
  slice: Slice,
  problem: AttentionProblem,
  plan: AttentionPlan,
): [number, number, number] {
  const group = problem.heads / problem.kvHeads / headsOfRow(problem, plan.schedule);
  return [
    plan.tokens.queryTiles(slice.queries),
    length(slice.kvHeads) * group,
    length(slice.batch) * length(slice.parts),
  ];
}

function finalOutputs(rows: Slice, call: AttentionCall): Outputs {
  const { problem, tensors } = call;
  const range = queryRows(rows, problem);
  return {
    out: boundRows(tensors.out, range, problem.valueDim, call),
    lse: tensors.lse && boundRows(tensors.lse, range, 1, call),
    partRows: 0,
  };
}

function partialOutputs(
  operation: Operation,
  rows: Slice,
  call: AttentionCall,
): Outputs {
  const { problem, plan } = call;
  const [first, end] = queryRows(rows, problem);
  const partRows = end - first;
  const columns = 4 * Math.ceil(problem.valueDim / 4);
  const out = operation.scratch(plan.tokens.parts * partRows * columns * 4);
  const lse = plan.config.lse
    ? operation.scratch(Math.max(16, plan.tokens.parts * partRows * 4))
    : null;
  return { out: { resource: out, first }, lse: lse && { resource: lse, first }, partRows };
}

function merge(
  operation: Operation,
  rows: Slice,
  partial: Outputs,
  call: AttentionCall,
): void {
  const { problem, plan } = call;
  const final = finalOutputs(rows, call);
  const [first] = queryRows(rows, problem);
  const threads = partial.partRows * Math.ceil(problem.valueDim / 4);
  operation.launch({
    program: mergeProgram(mergeConfig(problem)),
    resources: {
      partial: partial.out.resource,
      ...(partial.lse && { partialAux: partial.lse.resource }),
      out: final.out.resource,
      ...(final.lse && { aux: final.lse.resource }),
    },
    params: {
      rows: partial.partRows,
      parts: plan.tokens.parts,
      partialFirst: 0,
      // rows of the round count from 0 in the kernel
      outFirst: final.out.first - first,
      auxFirst: (final.lse?.first ?? first) - first,
    },
    grid: [Math.ceil(threads / MERGE_THREADS), 1, 1],
  });
}
