import { nearest } from "../gpu/nearest.ts";
import { ATTENTION_FLAGS, attentionCaseOf } from "./attention_flags.ts";
import { ATTENTION_SWEEPS, attentionWorkload } from "./attention_workload.ts";
import { CHANNEL_SWEEPS } from "./channel_flags.ts";
import { type Arguments, type Command, type Flag, UsageError } from "./command.ts";
import { CONV_FLAGS, CONV_SWEEPS, convProfileOf, convWorkload } from "./conv_workload.ts";
import { HGRN_FLAGS, hgrnProfileOf, hgrnWorkload } from "./hgrn_workload.ts";
import { NEIGHBORHOOD_PROBLEM_FLAGS, neighborhoodCaseOf } from "./neighborhood_flags.ts";
import { NEIGHBORHOOD_SWEEPS, neighborhoodWorkload } from "./neighborhood_workload.ts";
import type { RecurrenceCase } from "./recurrence_case.ts";
import {
  GATED_FLAGS,
  gatedCaseOf,
  RECURRENCE_FLAGS,
  recurrenceCaseOf,
} from "./recurrence_flags.ts";
import {
  RECURRENCE_SWEEPS,
  type RecurrenceProfile,
  recurrenceWorkload,
} from "./recurrence_workload.ts";
import {
  SELECTIVE_FLAGS,
  SELECTIVE_SWEEPS,
  selectiveProfileOf,
  selectiveWorkload,
} from "./selective_scan_workload.ts";
import { parseSweep, type Sweep, type SweepKeys } from "./sweep.ts";
import type { Workload } from "./workload.ts";

/** An operator whose problems the command line can describe. */
export interface ProfiledOperator {
  readonly flags: Command["flags"];
  /** The problems that the arguments describe, and the size in which they differ. */
  workloads(args: Arguments): {
    sweep: Pick<Sweep<object>, "key" | "sizes"> | null;
    workloads: readonly Workload[];
  };
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
      return { sweep, workloads: (sweep?.cases ?? [base]).map(workload) };
    },
  };
}

/** A family of recurrences that is the engine with gates of one shape, and perhaps the delta rule. */
function gated(operator: string, gate: RecurrenceCase["gate"], delta = false): ProfiledOperator {
  return profiled(
    GATED_FLAGS,
    RECURRENCE_SWEEPS,
    (args): RecurrenceProfile => ({ ...gatedCaseOf(args, gate), ...(delta && { delta }) }),
    (c) => recurrenceWorkload(c, operator),
  );
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
  recurrence: profiled(
    RECURRENCE_FLAGS,
    RECURRENCE_SWEEPS,
    recurrenceCaseOf,
    (c) => recurrenceWorkload(c),
  ),
  simpleGla: gated("simpleGla", "token"),
  gla: gated("gla", "channel"),
  deltaRule: gated("deltaRule", "none", true),
  gatedDeltaRule: gated("gatedDeltaRule", "token", true),
  kda: gated("kda", "channel", true),
  selectiveScan: profiled(SELECTIVE_FLAGS, SELECTIVE_SWEEPS, selectiveProfileOf, selectiveWorkload),
  hgrn: profiled(HGRN_FLAGS, CHANNEL_SWEEPS, hgrnProfileOf, hgrnWorkload),
  causalConv1d: profiled(CONV_FLAGS, CONV_SWEEPS, convProfileOf, convWorkload),
};

/** The flags of several operators; where they differ in their help, a flag has all of it. */
export function joinedFlags(
  operators: readonly Pick<ProfiledOperator, "flags">[],
): Record<string, Flag> {
  const flags = operators.flatMap(({ flags }) => Object.entries(flags));
  return Object.fromEntries(flags.map(([name, flag]) => {
    const helps = flags.filter(([other]) => other === name).map(([, { help }]) => help);
    return [name, { ...flag, help: [...new Set(helps)].join("; or ") }];
  }));
}

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
