import { builtinWorkloads } from "../builtin_set.ts";
import { type Arguments, UsageError } from "../command.ts";
import { profiledOperator } from "../profiled.ts";
import type { Sweep } from "../sweep.ts";
import type { Workload } from "../workload.ts";

/** The problems that a call of `profile` is about. */
export interface Selection {
  readonly workloads: readonly Workload[];
  /** The size in which they differ, if there is one. */
  readonly sweep: Pick<Sweep<object>, "key" | "sizes"> | null;
  /** Names of rivals that are timed beside those that always are. */
  readonly compared: readonly string[];
}

/** The built-in set, or what flags say of the named operator. */
export function selectionOf(args: Arguments): Selection {
  const [operator] = args.positional;
  if (!args.has("all")) {
    const { sweep, workloads } = profiledOperator(operator).workloads(args);
    return { sweep, workloads, compared: comparedOf(args, workloads[0]) };
  }
  if (operator !== undefined) {
    throw new UsageError(
      `Cannot run the command: --all must come without an operator, current value is "${operator}"`,
    );
  }
  return { workloads: builtinWorkloads(), sweep: null, compared: [] };
}

/** The rivals of a workload that are timed. */
export function rivalsOf({ always }: Workload, { compared }: Selection): string[] {
  return [...new Set([...always, ...compared])];
}

function comparedOf(args: Arguments, { operator, rivals }: Workload): string[] {
  const named = args.text("compare")?.split(",") ?? [];
  const names = Object.keys(rivals);
  for (const name of named) {
    if (names.includes(name)) continue;
    const rule = names.length > 0
      ? `--compare must name one of ${names.join(", ")}`
      : `--compare must be left out as ${operator} has no rivals`;
    throw new UsageError(`Cannot run the command: ${rule}, current value is "${name}"`);
  }
  return named;
}
