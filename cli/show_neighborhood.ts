import { type Arguments, type Command, UsageError } from "./command.ts";
import { axesOf, NEIGHBORHOOD_FLAGS } from "./neighborhood_flags.ts";
import {
  MAX_QUERIES,
  neighborhoodMap,
  neighborhoodMatrix,
  tellingQueries,
} from "./pattern/neighborhood_pattern.ts";
import { OUT, showPicture } from "./show_picture.ts";

/** The flags of `show pattern neighborhoodAttention`. */
export const NEIGHBORHOOD_PATTERN_FLAGS: Command["flags"] = {
  ...NEIGHBORHOOD_FLAGS,
  queries: { value: "XxY,XxY…", help: "queries to show on 2 or 3 axes, at most 7" },
  ...OUT,
};

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
