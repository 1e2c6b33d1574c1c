import { checkBand } from "../ops/attention/window.ts";
import { ATTENTION_FLAGS, windowOf } from "./attention_flags.ts";
import { type Arguments, type Command, UsageError } from "./command.ts";
import { type DrawnHooks, drawnHooks, type WrittenHooks } from "./drawn_hooks.ts";
import { hostGpu } from "./host_gpu.ts";
import { parseJson } from "./parse_json.ts";
import { attentionPattern } from "./pattern/attention_pattern.ts";
import { checkGiven, coverOf, type GivenBlocks, givenStates } from "./pattern/given_blocks.ts";
import { mapSizesOf, PROGRAMMABLE_FLAGS } from "./programmable_flags.ts";
import { type HookKind, namesHooks } from "./ready_made.ts";
import { readNpy, readParts } from "./run_inputs.ts";
import { OUT, showPicture } from "./show_picture.ts";

const MAPS = ["map", "matrix", "indices"];

/** The flags of `show pattern attention`. */
export const ATTENTION_PATTERN_FLAGS: Command["flags"] = {
  "q-len": {
    value: "N",
    help: "queries, 32 by default, those of the rows of --matrix or --indices",
  },
  "kv-len": { value: "N", help: "keys, as many as queries by default, or those of --matrix" },
  causal: ATTENTION_FLAGS.causal,
  window: ATTENTION_FLAGS.window,
  mask: {
    value: "TEXT|JSON",
    help: `${PROGRAMMABLE_FLAGS.mask.help}; or ready-made: {"slidingWindow": [3, 0], …}`,
  },
  score: {
    value: "TEXT|JSON",
    help: 'WGSL of a score, whose value of s = 0 is shaded; or ready-made: {"softcap": [30], …}',
  },
  inputs: { value: "DIR", help: "holds inputs.NAME.npy of what the texts read" },
  heads: { value: "N", help: "a panel for each of N heads, 1 by default, or those of a file" },
  "batch-entry": { value: "N", help: "the batch entry that is drawn, 0 by default" },
  map: { help: "shade the blocks of the mask's map: full, partial and empty ones" },
  matrix: { value: "FILE", help: "shade the blocks of a map that a .npy matrix lists" },
  indices: { value: "FILE", help: "shade those of a map whose rows a .npy file lists" },
  "query-block": { value: "N", help: "queries of a block of the map, 8 by default" },
  "key-block": { value: "N", help: "keys of a block of the map, 8 by default" },
  ...OUT,
};

/** `show pattern attention`: queries and keys as a matrix, or one for each head. */
export async function showAttentionPattern(args: Arguments): Promise<void> {
  const kinds = MAPS.filter((name) => args.has(name));
  if (kinds.length > 1) fail(`--${kinds[0]} and --${kinds[1]} must not both be given`);
  const blocks = mapSizesOf(args, MAPS, 8);
  const given = await givenOf(args);
  const covered = given && blocks ? coverOf(given, blocks) : {};
  const qLen = args.integer("q-len", covered.qLen ?? 32, 1);
  const sizes = {
    qLen,
    kvLen: args.integer("kv-len", covered.kvLen ?? qLen, 1),
    heads: args.integer("heads", covered.heads ?? 1, 1),
    batchEntry: args.integer("batch-entry", 0),
  };
  const masked = args.has("mask");
  const statesOf = given && blocks && givenStates(given, { ...sizes, ...blocks, masked });
  const [causal, window] = [args.has("causal"), windowOf(args)];
  const pattern = {
    ...{ ...sizes, causal, window, hooks: await hooksOf(args) },
    band: checkBand({ causal, ...(window && { window }) }, qLen, sizes.kvLen),
    map: blocks && { ...blocks, ...(statesOf && { statesOf }) },
  };
  await showPicture("attention", attentionPattern(pattern), args);
}

/** The blocks of the file that a flag names. */
async function givenOf(args: Arguments): Promise<GivenBlocks | undefined> {
  const kind = (["matrix", "indices"] as const).find((name) => args.has(name));
  if (kind === undefined) return undefined;
  const given = { kind, ...await readNpy(args.required(kind)) };
  checkGiven(given);
  return given;
}

/** The hooks of the flags, and what they read from files. */
async function hooksOf(args: Arguments): Promise<DrawnHooks> {
  const written: WrittenHooks = { mask: writtenOf(args, "mask"), score: writtenOf(args, "score") };
  const directory = args.text("inputs");
  if (directory === undefined) return drawnHooks(written);
  if (!args.has("mask") && !args.has("score")) fail("--inputs must come with --mask or --score");
  const gpu = hostGpu();
  return drawnHooks(written, await readParts(gpu, directory, "inputs"), gpu);
}

function writtenOf(args: Arguments, kind: HookKind): unknown {
  const text = args.text(kind);
  return text !== undefined && namesHooks(text) ? parseJson(text, `--${kind}`) : text;
}

function fail(rule: string): never {
  throw new UsageError(`Cannot run the command: ${rule}`);
}
