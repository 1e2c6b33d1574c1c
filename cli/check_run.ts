import type { Gpu } from "../gpu/device.ts";
import type { CheckGroup, Outcome } from "./outcome.ts";
import { reasonOf } from "./reason.ts";

/** How groups are run. */
export interface RunOptions {
  /** Whether the first failure ends it. */
  readonly bail: boolean;
  /** Hears what comes next. */
  step(what: string): void;
}

/** Runs the items of a group one after the other. */
export async function runGroup(
  gpu: Gpu,
  { operator, group, items }: CheckGroup,
  { bail, step }: RunOptions,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const item of items) {
    step(`${operator} ${group}: ${item.name}`);
    const outcome = await item.run(gpu).catch((error) => failure(item.name, error));
    outcomes.push(outcome);
    if (bail && !outcome.ok) break;
  }
  return outcomes;
}

function failure(name: string, error: unknown): Outcome {
  const message = reasonOf(error);
  return { name, ratio: Infinity, tolerance: 0, ok: false, error: message };
}
