import { parseArgs } from "@std/cli/parse-args";
import { nearest } from "../gpu/nearest.ts";

/** A flag of a command. */
export interface Flag {
  /** What its value is, for example `"FILE"`; a flag without one is a switch. */
  readonly value?: string;
  /** One line of help. */
  readonly help: string;
}

/** One command of the command line. */
export interface Command {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Positional arguments as the help shows them, for example `"<operator>"`. */
  readonly positional?: string;
  /** How many of them there may be; any number where this is left out. */
  readonly words?: number;
  /** Flags by name, without the dashes; `--json` and `--help` are there in any case. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** The flags where they depend on the words that follow the command's name. */
  flagsFor?(words: readonly string[]): Command["flags"];
  /** Runs it and returns the exit code. */
  run(args: Arguments): Promise<number>;
}

/** Exit codes of the command line. */
export const EXIT = { fine: 0, failed: 1, usage: 2, noAdapter: 3 } as const;

/** Thrown when the command line itself is wrong: exit code 2. */
export class UsageError extends Error {
  /** Name of the class. */
  override readonly name = "UsageError";
}

const COMMON: Readonly<Record<string, Flag>> = {
  json: { help: "print one JSON document instead of text" },
  help: { help: "show this help" },
};

/** The parsed arguments of a command, with checked access. */
export class Arguments {
  /** All of it, as it was given. */
  readonly words: readonly string[];
  /** What stands without a dash. */
  readonly positional: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * Parses what follows a command's name.
   *
   * @throws UsageError for a flag that the command does not have or one without its value
   */
  constructor(args: readonly string[], flags: Command["flags"]) {
    const known = { ...COMMON, ...flags };
    const names = Object.keys(known);
    const valued = names.filter((name) => known[name].value !== undefined);
    // "--shape" without a value would swallow the next flag or become an empty string
    const values = parseArgs([...args], {
      boolean: names.filter((name) => known[name].value === undefined),
      string: valued,
      alias: { h: "help" },
      unknown: (argument, key) => {
        if (key === undefined) return true;
        throw new UsageError(
          `Cannot run the command: unknown flag "${argument.split("=", 1)[0]}", the nearest is "--${
            nearest(key, names)
          }"`,
        );
      },
    });
    for (const word of args) {
      const [, name] = /^--([\w-]+)=/.exec(word) ?? [];
      if (name !== undefined && !valued.includes(name)) {
        throw new UsageError(`Cannot run the command: --${name} takes no value, it is a switch`);
      }
    }
    for (const name of valued) {
      if (values[name as keyof typeof values] === "") {
        throw new UsageError(
          `Cannot run the command: --${name} needs a value, ${known[name].value}`,
        );
      }
    }
    this.words = args;
    this.positional = values._.map(String);
    this.#values = values;
  }

  /** Whether a switch is set. */
  has(name: string): boolean {
    return this.#values[name] === true || typeof this.#values[name] === "string";
  }

  /** The text of a flag, or undefined where it is absent. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  /** The text of a flag that must be there. */
  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) {
      throw new UsageError(`Cannot run the command: --${name} must be given`);
    }
    return value;
  }

  /** An integer of at least `least`. */
  integer(name: string, fallback: number, least = 0): number {
    const text = this.text(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new UsageError(
      `Cannot run the command: --${name} must be an integer >= ${least}, current value is "${text}"`,
    );
  }

  /** One of a few words. */
  choice<const T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    const found = choices.find((choice) => choice === text);
    if (text === undefined || found !== undefined) return found;
    throw new UsageError(
      `Cannot run the command: --${name} must be one of ${
        choices.join(", ")
      }, current value is "${text}"`,
    );
  }
}

/** Refuses words that a command would ignore. */
export function checkWords(
  name: string,
  { words = Infinity }: Command,
  { positional }: Arguments,
): void {
  if (positional.length <= words) return;
  throw new UsageError(
    `Cannot run the command: ${name} takes ${
      words === 0 ? "no word" : `at most ${words} word`
    } without dashes, "${positional[words]}" is one more`,
  );
}

/** The line that runs a command again, as a shell reads it. */
export function commandLine(name: string, { words }: Arguments): string {
  return ["./tessera", name, ...words.map(quoted)].join(" ");
}

function quoted(word: string): string {
  return /^[\w%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The help of one command. */
export function commandHelp(
  name: string,
  { summary, positional = "", flags }: Omit<Command, "run">,
): string {
  const all = Object.entries({ ...flags, ...COMMON });
  const heads = all.map(([flag, { value }]) => `--${flag}${value ? ` ${value}` : ""}`);
  const width = Math.max(...heads.map((head) => head.length));
  return [
    `tessera ${name} ${positional}`.trimEnd(),
    "",
    summary,
    "",
    "Flags:",
    ...all.map(([, { help }], i) => `  ${heads[i].padEnd(width)}  ${help}`),
  ].join("\n");
}
