// What became slower between two runs of `./tessera profile --all --json`:
// `./tessera task compare OLD.json NEW.json`. Exit codes: 0 nothing did, 1 something, 2 wrong usage.
import { Arguments, type Command, commandHelp, EXIT, UsageError } from "../cli/command.ts";
import { figure, note, print, printJson, table } from "../cli/output.ts";
import { reasonOf } from "../cli/reason.ts";
import { type Change, type Changes, changesOf, type ProfileSet } from "./_changes.ts";

/** The command, as those of the command line are written. */
const compare: Command = {
  summary: "Prints what became slower between two files of profile --all --json.",
  positional: "OLD.json NEW.json",
  flags: { threshold: { value: "PERCENT", help: "least change that counts, 5 by default" } },
  async run(args) {
    if (args.positional.length !== 2) {
      throw new UsageError(
        `Cannot compare profiles as two files must be named: ${args.positional.length} are`,
      );
    }
    const percent = args.integer("threshold", 5);
    const [before, after] = await Promise.all(args.positional.map(readProfiles));
    if (before.adapter !== after.adapter) {
      throw new UsageError(
        `Cannot compare profiles as both must be of one adapter: they are of ${before.adapter} and ${after.adapter}`,
      );
    }
    const changes = changesOf(before, after, percent / 100);
    if (args.has("json")) printJson({ adapter: before.adapter, percent, ...changes });
    else printChanges(before, after, changes);
    return changes.slower.length > 0 ? EXIT.failed : EXIT.fine;
  },
};

/** Runs the comparison and returns its exit code. */
export async function main(words: readonly string[]): Promise<number> {
  try {
    const args = new Arguments(words, compare.flags);
    if (!args.has("help")) return await compare.run(args);
    print(commandHelp("task compare", compare));
    return EXIT.fine;
  } catch (error) {
    note(reasonOf(error));
    return EXIT.usage;
  }
}

async function readProfiles(path: string): Promise<ProfileSet> {
  let reason = "it has no profiles with times";
  try {
    const set = JSON.parse(await Deno.readTextFile(path));
    if (isProfileSet(set)) return set;
  } catch (error) {
    reason = reasonOf(error);
  }
  throw new UsageError(
    `Cannot compare profiles as ${path} must be what profile --all --json prints: ${reason}`,
  );
}

function isProfileSet(value: unknown): value is ProfileSet {
  const { profiles } = Object(value);
  return Array.isArray(profiles) && profiles.every((profile) => {
    const { operator, name, minMs, medianMs, fractionOfCeiling } = Object(profile);
    return [operator, name].every((text) => typeof text === "string") &&
      [minMs, medianMs, fractionOfCeiling].every((number) => number > 0);
  });
}

function printChanges(before: ProfileSet, after: ProfileSet, changes: Changes): void {
  const { slower, faster, unchanged, missing, added } = changes;
  const ceilings = ({ ceilingGflops, ceilingGbps }: ProfileSet): string =>
    `${figure(ceilingGflops)} GFLOP/s and ${figure(ceilingGbps)} GB/s`;
  print(`${after.adapter}: ceilings ${ceilings(before)} before, ${ceilings(after)} now`);
  printRows("slower", slower);
  printRows("faster", faster);
  for (const key of missing) print(`missing: ${key}`);
  for (const key of added) print(`new: ${key}`);
  print(`${slower.length} slower, ${faster.length} faster, ${unchanged.length} as before`);
}

function printRows(title: string, changes: readonly Change[]): void {
  if (changes.length === 0) return;
  const head = [title, "ms before", "ms now", "ratio", "by minimum", "of ceiling", "schedule"];
  const rows = changes.map((change) => {
    const { operator, name, oldMs, newMs, ratio, minRatio, fractions, schedules = [] } = change;
    return [
      ...[`${operator} ${name}`, figure(oldMs), figure(newMs), `${figure(ratio)}x`],
      ...[`${figure(minRatio)}x`, fractions.map((f) => `${figure(100 * f)}%`).join(" to ")],
      schedules.join(" to "),
    ];
  });
  print(`${table([head, ...rows])}\n`);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
