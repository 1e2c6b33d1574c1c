import { ATTENTION_FLAGS, attentionCaseOf } from "./attention_flags.ts";
import { problemOf } from "./attention_problem.ts";
import { type Arguments, type Command, UsageError } from "./command.ts";
import { axesOf, NEIGHBORHOOD_FLAGS } from "./neighborhood_flags.ts";
import { mayColour, print, printJson, writeFile } from "./output.ts";
import { attentionPattern } from "./pattern/attention_pattern.ts";
import {
  MAX_QUERIES,
  neighborhoodMap,
  neighborhoodMatrix,
  tellingQueries,
} from "./pattern/neighborhood_pattern.ts";
import { documentOf, type Picture } from "./pattern/picture.ts";
import { renderPng } from "./pattern/png.ts";
import { renderSvg } from "./pattern/svg.ts";
import { renderTerminal } from "./pattern/terminal.ts";
import { PROGRAMMABLE_FLAGS, programmableOf } from "./programmable_flags.ts";

const OUT = { out: { value: "FILE", help: "write the picture to FILE, .svg or .png" } };

/** The flags of `show pattern attention`. */
export const ATTENTION_PATTERN_FLAGS: Command["flags"] = {
  "q-len": { value: "N", help: "queries, 32 by default" },
  "kv-len": ATTENTION_FLAGS["kv-len"],
  causal: ATTENTION_FLAGS.causal,
  window: ATTENTION_FLAGS.window,
  mask: PROGRAMMABLE_FLAGS.mask,
  score: { ...PROGRAMMABLE_FLAGS.score, help: "WGSL of a score, whose value of s = 0 is shaded" },
  heads: { value: "N", help: "a panel for each of N heads, 1 by default" },
  map: { help: "shade the blocks of the mask's map: full, partial and empty ones" },
  "query-block": { value: "N", help: "queries of a block of the map, 8 by default" },
  "key-block": { value: "N", help: "keys of a block of the map, 8 by default" },
  ...OUT,
};

/** The flags of `show pattern neighborhoodAttention`. */
export const NEIGHBORHOOD_PATTERN_FLAGS: Command["flags"] = {
  ...NEIGHBORHOOD_FLAGS,
  queries: { value: "XxY,XxY…", help: "queries to show on 2 or 3 axes, at most 7" },
  ...OUT,
};

/** `show pattern attention`: queries and keys as a matrix, or one for each head. */
export async function showAttentionPattern(args: Arguments): Promise<void> {
  const qLen = args.integer("q-len", 32, 1);
  const heads = args.integer("heads", 1, 1);
  const c = {
    ...{ ...attentionCaseOf(args), ...programmableOf(args, 8), heads, kvHeads: heads },
    ...{ qLen, kvLen: args.integer("kv-len", qLen, 1) },
  };
  const { band } = problemOf(c);
  const { kvLen, window, map } = c;
  const pattern = { qLen, kvLen, causal: args.has("causal"), window, band, heads, map, hooks: c };
  await showPicture("attention", attentionPattern(pattern), args);
}

/** `show pattern neighborhoodAttention`: one axis as a matrix, more of them as a map. */
export async function showNeighborhoodPattern(args: Arguments): Promise<void> {
  const axes = axesOf("show neighborhood attention", args);
  const lengths = axes.map(({ length }) => length);
  if (lengths.length === 1 && args.has("queries")) {
    throw new UsageError(
      `Cannot run the command: --queries needs 2 or 3 token axes, the matrix of one axis shows all queries: --layout is ${lengths}`,
    );
  }
  const picture = lengths.length === 1
    ? neighborhoodMatrix(axes[0])
    : neighborhoodMap(axes, queriesOf(args, lengths));
  await showPicture("neighborhoodAttention", picture, args);
}

/** The queries that the flag names, or telling ones. */
function queriesOf(args: Arguments, lengths: readonly number[]): number[][] {
  const text = args.text("queries");
  if (text === undefined) return tellingQueries(lengths);
  const words = text.split(",");
  const queries = words.map((word) => word.split("x").map(Number));
  const inside = queries.every((query) =>
    query.length === lengths.length && query.every((x, axis) => x < lengths[axis])
  );
  const numbers = words.every((word) => /^\d+(x\d+)*$/.test(word));
  if (numbers && inside && queries.length <= MAX_QUERIES) return queries;
  throw new UsageError(
    `Cannot run the command: --queries must be at most ${MAX_QUERIES} tokens of the layout ${
      lengths.join("x")
    }, such as ${lengths.map(() => 0).join("x")}, current value is "${text}"`,
  );
}

/** Prints a picture, or writes it to the file of `--out`. */
async function showPicture(operator: string, picture: Picture, args: Arguments): Promise<void> {
  const out = args.text("out");
  if (out !== undefined) await writeFile(out, await fileOf(out, picture));
  if (args.has("json")) {
    printJson({ operator, ...documentOf(picture), ...(out !== undefined && { out }) });
  } else if (out !== undefined) {
    print(out);
  } else {
    const width = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : 100;
    print(renderTerminal(picture, { width, colour: mayColour() }));
  }
}

async function fileOf(path: string, picture: Picture): Promise<Uint8Array> {
  if (/\.svg$/i.test(path)) return new TextEncoder().encode(renderSvg(picture));
  if (/\.png$/i.test(path)) return await renderPng(picture);
  throw new UsageError(
    `Cannot run the command: --out must end in .svg or .png, current value is "${path}"`,
  );
}
