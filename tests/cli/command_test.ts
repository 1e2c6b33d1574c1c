import { assertEquals, assertThrows } from "@std/assert";
import {
  Arguments,
  checkWords,
  type Command,
  commandHelp,
  commandLine,
  EXIT,
  UsageError,
} from "../../cli/command.ts";

const FLAGS: Command["flags"] = {
  runs: { value: "N", help: "timed calls" },
  dtype: { value: "f32|f16", help: "storage" },
  causal: { help: "hide later keys" },
};

/** Parses the words of a line. */
function parse(line: string): Arguments {
  return new Arguments(line.split(" ").filter((word) => word !== ""), FLAGS);
}

function assertUsageError(body: () => unknown, message: string): void {
  assertEquals(assertThrows(body, UsageError).message, `Cannot run the command: ${message}`);
}

Deno.test("Arguments keeps apart positional arguments, switches and values", () => {
  const args = parse("wgsl --runs 3 attention --causal 7 --dtype=f16");

  assertEquals(args.positional, ["wgsl", "attention", "7"]);
  assertEquals(args.text("runs"), "3");
  assertEquals(args.text("dtype"), "f16");
  assertEquals(args.has("causal"), true);
});

Deno.test("Arguments finds nothing where nothing was given", () => {
  const args = parse("");

  assertEquals(args.positional, []);
  assertEquals(args.has("causal"), false);
  assertEquals(args.has("json"), false);
  assertEquals(args.has("runs"), false);
  assertEquals(args.text("runs"), undefined);
  assertEquals(args.integer("runs", 20), 20);
  assertEquals(args.choice("dtype", ["f32", "f16"]), undefined);
});

Deno.test("Arguments takes --json and --help for every command", () => {
  const args = new Arguments(["--json", "--help"], {});

  assertEquals([args.has("json"), args.has("help")], [true, true]);
});

Deno.test("Arguments takes the last of repeated flags", () => {
  assertEquals(parse("--runs 3 --runs 4").integer("runs", 20), 4);
});

Deno.test("Arguments throws for an unknown flag and names the nearest", () => {
  assertUsageError(() => parse("--casual"), 'unknown flag "--casual", the nearest is "--causal"');
  assertUsageError(() => parse("--run=5"), 'unknown flag "--run", the nearest is "--runs"');
  assertUsageError(() => parse("--DTYP f16"), 'unknown flag "--DTYP", the nearest is "--dtype"');
});

Deno.test("Arguments throws for a flag without its value", () => {
  const message = "--runs needs a value, N";

  assertUsageError(() => parse("--runs"), message);
  assertUsageError(() => parse("--runs="), message);
  assertUsageError(() => parse("--runs --causal"), message);
});

Deno.test("Arguments throws for a switch with a value", () => {
  assertUsageError(() => parse("--causal=no"), "--causal takes no value, it is a switch");
  assertUsageError(() => parse("--json=1"), "--json takes no value, it is a switch");
});

Deno.test("checkWords() refuses words that a command would ignore", () => {
  const command = (words?: number): Command => ({
    ...{ summary: "", flags: {}, run: () => Promise.resolve(0) },
    ...(words !== undefined && { words }),
  });
  const refused = (words: number, line: string, message: string): void =>
    assertUsageError(() => checkWords("tune", command(words), parse(line)), message);

  refused(0, "a", 'tune takes no word without dashes, "a" is one more');
  refused(1, "a b c", 'tune takes at most 1 word without dashes, "b" is one more');
  checkWords("tune", command(1), parse("a --causal"));
  checkWords("tune", command(), parse("a b c"));
});

Deno.test("Arguments.required() throws without the flag", () => {
  assertEquals(parse("--runs 3").required("runs"), "3");
  assertUsageError(() => parse("").required("runs"), "--runs must be given");
});

Deno.test("Arguments.integer() takes integers from its least on", () => {
  assertEquals(parse("--runs 0").integer("runs", 20), 0);
  assertEquals(parse("--runs 1").integer("runs", 20, 1), 1);
  for (const value of ["1.5", "-1", "many", "1e99", "NaN", "Infinity"]) {
    assertUsageError(
      () => parse(`--runs=${value}`).integer("runs", 20),
      `--runs must be an integer >= 0, current value is "${value}"`,
    );
  }
  assertUsageError(
    () => parse("--runs 0").integer("runs", 20, 1),
    '--runs must be an integer >= 1, current value is "0"',
  );
});

Deno.test("Arguments.choice() takes the words that it is given", () => {
  const args = parse("--dtype f16");

  assertEquals(args.choice("dtype", ["f32", "f16"]), "f16");
  assertUsageError(
    () => args.choice("dtype", ["f32", "i32"]),
    '--dtype must be one of f32, i32, current value is "f16"',
  );
});

Deno.test("commandHelp() lists the flags with those of every command", () => {
  const command: Command = {
    summary: "Times a problem.",
    positional: "<operator>",
    flags: FLAGS,
    run: () => Promise.resolve(EXIT.fine),
  };

  assertEquals(
    commandHelp("profile", command),
    [
      "tessera profile <operator>",
      "",
      "Times a problem.",
      "",
      "Flags:",
      "  --runs N         timed calls",
      "  --dtype f32|f16  storage",
      "  --causal         hide later keys",
      "  --json           print one JSON document instead of text",
      "  --help           show this help",
    ].join("\n"),
  );
});

Deno.test("commandLine() spells the words as a shell reads them", () => {
  const args = new Arguments(["gla", "--runs", "3", "--dtype=f16", "it's i < j", ""], FLAGS);

  assertEquals(
    commandLine("profile", args),
    `./tessera profile gla --runs 3 --dtype=f16 'it'\\''s i < j' ''`,
  );
});
