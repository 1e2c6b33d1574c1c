/**
 * The command line: `tessera devices`, `check`, `profile`, `tune`, `simulate`, `run`, `show`.
 *
 * @example From a program
 * ```ts
 * import { main } from "@tessera/kernels/cli";
 * import { assertEquals } from "@std/assert";
 * assertEquals(await main(["--help"]), 0);
 * ```
 *
 * @module
 */

import { check } from "./cli/check.ts";
import {
  Arguments,
  checkWords,
  type Command,
  commandHelp,
  EXIT,
  UsageError,
} from "./cli/command.ts";
import { devices } from "./cli/devices.ts";
import { note, print } from "./cli/output.ts";
import { profile } from "./cli/profile.ts";
import { run } from "./cli/run.ts";
import { show } from "./cli/show.ts";
import { simulate } from "./cli/simulate.ts";
import { tune } from "./cli/tune.ts";
import { UnsupportedDeviceError } from "./gpu/errors.ts";
import { nearest } from "./gpu/nearest.ts";
import config from "./deno.json" with { type: "json" };

const COMMANDS: Readonly<Record<string, Command>> = {
  devices,
  check,
  profile,
  tune,
  simulate,
  show,
  run,
};

/**
 * Runs one command.
 *
 * @param args the command and its arguments
 * @returns the exit code: 0 fine, 1 a check failed or the operator refused its input, 2 wrong usage,
 * 3 no usable adapter
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === undefined || ["help", "--help", "-h"].includes(name)) {
      print(help());
      return EXIT.fine;
    }
    if (name === "--version") {
      print(`tessera ${config.version}`);
      return EXIT.fine;
    }
    if (!Object.hasOwn(COMMANDS, name)) {
      throw new UsageError(
        `Cannot run the command: unknown command "${name}", the nearest is "${
          nearest(name, Object.keys(COMMANDS))
        }"`,
      );
    }
    const command = COMMANDS[name];
    const flags = command.flagsFor?.(rest) ?? command.flags;
    const parsed = new Arguments(rest, flags);
    if (!parsed.has("help")) {
      checkWords(name, command, parsed);
      return await command.run(parsed);
    }
    print(commandHelp(name, { ...command, flags }));
    return EXIT.fine;
  } catch (error) {
    note(error instanceof Error ? error.message : String(error));
    if (error instanceof UsageError) return EXIT.usage;
    const missing = error instanceof UnsupportedDeviceError && error.requirement === "adapter";
    return missing ? EXIT.noAdapter : EXIT.failed;
  }
}

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  return [
    "tessera <command> [arguments]",
    "",
    "Tiled attention on the GPU through WebGPU, checked against float64.",
    "",
    ...Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "tessera <command> --help shows the flags of a command.",
  ].join("\n");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
