import { hookOptions, type HookTexts } from "./attention_hooks.ts";
import type { CaseKeys } from "./attention_keys.ts";
import { type Arguments, type Flag, UsageError } from "./command.ts";
import { type HookKind, namesHooks } from "./ready_made.ts";

/** The flags of programmable attention. */
export const PROGRAMMABLE_FLAGS: Readonly<Record<string, Flag>> = {
  score: { value: "TEXT", help: "WGSL of a new score, from s, b, h, i and j" },
  mask: { value: "TEXT", help: "WGSL of who sees whom, from b, h, i and j" },
  weight: { value: "NAME|TEXT", help: "weight function, by name or WGSL of s; softmax by default" },
  map: { help: "compile the mask into a block map, and leave its empty blocks out" },
  "query-block": { value: "N", help: "queries of a block of the map, 64 by default" },
  "key-block": { value: "N", help: "keys of a block of the map, 64 by default" },
  packed: { value: "N,…", help: "lengths of packed sequences, instead of --q-len and --kv-len" },
  "selected-pages": { value: "N", help: "see one of N pages of a cache, in random order" },
  "page-size": { value: "N", help: "tokens of a page, 64 by default" },
};

/** The programmable parts that the flags describe. */
export function programmableOf(args: Arguments): HookTexts & CaseKeys {
  const paged = args.has("selected-pages") || args.has("page-size");
  const kinds = [
    ...(args.has("map") ? ["--map"] : []),
    ...(args.has("packed") ? ["--packed"] : []),
    ...(paged ? ["--selected-pages"] : []),
  ];
  if (kinds.length > 1) fail(`${kinds[0]} and ${kinds[1]} must not both be given`);
  const packed = packedOf(args);
  const map = mapSizesOf(args, ["map"], 64);
  return {
    ...hookOptions({
      ...{ score: textOf(args, "score"), mask: textOf(args, "mask"), weight: args.text("weight") },
    }),
    ...(map && { map }),
    ...(packed && { packed }),
    ...(paged && {
      pages: {
        selected: args.integer("selected-pages", 1, 1),
        size: args.integer("page-size", 64, 1),
      },
    }),
  };
}

/** The sizes of the blocks of a map, of `block` by default, where one of the flags `kinds` asks for it. */
export function mapSizesOf(
  args: Arguments,
  kinds: readonly string[],
  block: number,
): CaseKeys["map"] {
  const kind = kinds.find((name) => args.has(name));
  if (kind === undefined) {
    const size = ["query-block", "key-block"].find((name) => args.has(name));
    if (size !== undefined) fail(`--${size} must come with --${kinds.join(" or --")}`);
    return undefined;
  }
  if (kind === "map" && !args.has("mask")) fail("--map must come with --mask");
  const band = ["causal", "window"].find((name) => args.has(name));
  if (band !== undefined) fail(`--${band} must be part of --mask where there is --${kind}`);
  return {
    queryBlock: args.integer("query-block", block, 1),
    keyBlock: args.integer("key-block", block, 1),
  };
}

/** The text of a hook; operators that are checked against float64 take no other. */
function textOf(args: Arguments, kind: HookKind): string | undefined {
  const text = args.text(kind);
  if (text !== undefined && namesHooks(text)) {
    fail(
      `--${kind} must be WGSL text here, only show pattern and run make hooks of JSON: current value is ${text}`,
    );
  }
  return text;
}

function packedOf(args: Arguments): readonly number[] | undefined {
  const text = args.text("packed");
  if (text === undefined) return undefined;
  const length = ["q-len", "kv-len"].find((name) => args.has(name));
  if (length !== undefined) fail(`--${length} must not come with --packed`);
  if (args.integer("batch", 1, 1) !== 1) fail("--batch must be 1 where there is --packed");
  if (/^\d+(,\d+)*$/.test(text)) return text.split(",").map(Number);
  throw new UsageError(
    `Cannot run the command: --packed must be integers such as 30,900,128, current value is "${text}"`,
  );
}

function fail(rule: string): never {
  throw new UsageError(`Cannot run the command: ${rule}`);
}
