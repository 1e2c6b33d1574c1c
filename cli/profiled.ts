import { nearest } from "../gpu/options.ts";
import { ATTENTION_FLAGS, attentionCaseOf } from "./attention_flags.ts";
import { ATTENTION_SWEEPS, attentionWorkload } from "./attention_workload.ts";
import { type Arguments, type Command, UsageError } from "./command.ts";
import { NEIGHBORHOOD_PROBLEM_FLAGS, neighborhoodCaseOf } from "./neighborhood_flags.ts";
import { NEIGHBORHOOD_SWEEPS, neighborhoodWorkload } from "./neighborhood_workload.ts";
import { parseSweep, type SweepKeys } from "./sweep.ts";
import type { Workload } from "./workload.ts";

/** An operator whose problems the command line can describe. */
export interface ProfiledOperator {
  readonly flags: Command["flags"];
  /** The problems that the arguments describe, and the size in which they differ. */
  workloads(args: Arguments): { sweep: string | null; workloads: readonly Workload[] };
}

function profiled<C extends object>(
  flags: Command["flags"],
  sweeps: SweepKeys<C>,
  caseOf: (args: Arguments) => C,
  workload: (c: C) => Workload,
): ProfiledOperator {
  return {
    flags,
    workloads(args) {
      const base = caseOf(args);
      const sweep = parseSweep(args.text("sweep"), base, sweeps);
      return { sweep: sweep?.key ?? null, workloads: (sweep?.cases ?? [base]).map(workload) };
    },
  };
}

/** Operators by their names in the library. */
export const PROFILED: Readonly<Record<string, ProfiledOperator>> = {
  attention: profiled(ATTENTION_FLAGS, ATTENTION_SWEEPS, attentionCaseOf, attentionWorkload),
  neighborhoodAttention: profiled(
    NEIGHBORHOOD_PROBLEM_FLAGS,
    NEIGHBORHOOD_SWEEPS,
    neighborhoodCaseOf,
    neighborhoodWorkload,
  ),
};

/** The operator that the first positional argument names. */
export function profiledOperator(name: string | undefined): ProfiledOperator {
  if (name !== undefined && Object.hasOwn(PROFILED, name)) return PROFILED[name];
  const names = Object.keys(PROFILED);
  throw new UsageError(
    `Cannot run the command: an operator must be named, among ${
      names.join(", ")
    }, the nearest to "${name ?? ""}" is "${nearest(name ?? "", names)}"`,
  );
}
