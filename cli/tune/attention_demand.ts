import { splitBytes } from "../../kernels/attention/split.ts";
import { workgroupBytes, workgroupThreads } from "../../kernels/attention/workgroup.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import { type AttentionSchedule, tileRegisters } from "../../ops/attention/schedule.ts";
import type { Demand } from "./demand.ts";

/** Pairs and rows that a schedule meets. */
export interface AttentionWork {
  /** Query-key pairs of all visited tiles, over batch and heads. */
  readonly pairs: number;
  /** Bytes of inputs and outputs. */
  readonly bytes: number;
}

/** What a schedule of attention asks of a device. */
export function attentionDemand(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  work: AttentionWork,
): Demand {
  const { headDim, valueDim, qLen, heads, kvHeads, batch } = problem;
  const [d4, v4] = [Math.ceil(headDim / 4), Math.ceil(valueDim / 4)];
  const { pairs, bytes } = work;
  const multiplies = pairs * (d4 + v4);
  const rows = batch * heads * qLen;
  switch (schedule.kind) {
    case "naive":
      return {
        ...{ multiplies, loads: 2 * multiplies, source: "buffer", exchanges: 0 },
        ...{ exchange: "workgroup", registers: 4, workgroupBytes: 0, threads: 64 },
        ...{ workgroups: Math.ceil(rows / 64), bytes: bytes + 16 * pairs },
      };
    case "subgroup": {
      const { lanes, rows: own, exchange, source } = schedule;
      return {
        ...{ multiplies, loads: multiplies / (lanes * own), source },
        ...{ exchanges: multiplies / own, exchange, registers: own * (d4 + v4 + lanes / 4) + d4 },
        ...{ workgroupBytes: 0, threads: lanes, workgroups: rows / (lanes * own) },
        bytes: bytesFrom(source, bytes),
      };
    }
    case "split": {
      const { threads, rows: own, parts, source } = schedule;
      return {
        ...{ multiplies, loads: multiplies / own, source, exchanges: pairs / own },
        exchange: schedule.exchange === "lanes" ? "broadcast" : "workgroup",
        ...{ registers: own * (d4 + v4), workgroupBytes: splitBytes(schedule), threads },
        workgroups: parts * batch * kvHeads * Math.ceil(heads / kvHeads / own),
        bytes: bytesFrom(source, bytes),
      };
    }
    case "workgroup": {
      const { blockQ, blockKv, rows: own, cols } = schedule;
      const columns = Math.max(1, v4 / (blockKv / cols));
      const reads = d4 * (own + cols) / (own * cols) + v4 * (own / 4 + columns) / (own * columns);
      return {
        multiplies,
        loads: pairs * (d4 / blockKv + (d4 + v4) / blockQ),
        ...{ source: "buffer", exchanges: pairs * reads, exchange: "workgroup" },
        registers: tileRegisters(schedule, problem) + (own + cols) / 4,
        workgroupBytes: workgroupBytes(schedule, valueDim),
        threads: workgroupThreads(schedule),
        ...{ workgroups: rows / blockQ, bytes },
      };
    }
  }
}

/** Copies into textures read and write what is copied once more. */
function bytesFrom(source: Demand["source"], bytes: number): number {
  return source === "texture" ? 3 * bytes : bytes;
}
