import { figure, print, table } from "../output.ts";
import {
  COLUMNS,
  EXTRA_COLUMNS,
  OPERATOR_COLUMN,
  passRowsOf,
  rowsOf,
  SCHEDULE_COLUMN,
} from "./columns.ts";
import type { ProfileRun } from "./document.ts";

/** Prints profiles as tables. */
export function printProfiles({ adapter, ceilings, profiles, growth, leftOut }: ProfileRun): void {
  const mixed = new Set(profiles.map(({ operator }) => operator)).size > 1;
  const columns = mixed
    ? [OPERATOR_COLUMN, ...COLUMNS, ...EXTRA_COLUMNS, SCHEDULE_COLUMN]
    : [...COLUMNS, ...EXTRA_COLUMNS];
  print(
    `${adapter}: ceilings ${figure(ceilings.gflops)} GFLOP/s, ${figure(ceilings.gbps)} GB/s (${
      figure(ceilings.commandGbps)
    } GB/s by copy commands)`,
  );
  print(table(rowsOf(columns, profiles)));
  if (!mixed && profiles.length > 0) {
    const [{ schedule, runs, timer, compileMs, peakBytes }] = profiles;
    const longer = figure(compileMs);
    print(
      `schedule ${schedule}, ${runs} runs by ${timer}, first call ${longer} ms longer, ${peakBytes} bytes of scratch`,
    );
  }
  const [{ passes = [] }, ...others] = profiles;
  if (others.length === 0 && passes.length > 1) print(`\n${table(passRowsOf(profiles[0]))}`);
  if (growth !== undefined) {
    print(`time grows as ${growth.variable} to the power of ${figure(growth.law.exponent)}`);
  }
  for (const { operator, name, reason } of leftOut) {
    print(`left out: ${operator} ${name}: ${reason}`);
  }
}
