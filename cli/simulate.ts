import type { NeighborhoodAxis } from "../ops/neighborhood/axes.ts";
import {
  type TileCost,
  tileModel,
  type TilePair,
  type TilePlacement,
  tileShapes,
} from "../ops/neighborhood/tile_model.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { axesOf, NEIGHBORHOOD_FLAGS, sizesOf } from "./neighborhood_flags.ts";
import { figure, print, printJson, table } from "./output.ts";

/** A pair of tiles and what it costs. */
type Simulated = TilePair & TileCost;

/** `simulate neighborhood`: what tiles cost on a problem, without a GPU. */
export const simulate: Command = {
  summary: "Computes what tiles cost, without a GPU: simulate neighborhood.",
  positional: "neighborhood",
  flags: {
    ...NEIGHBORHOOD_FLAGS,
    "query-tile": { value: "NxN…", help: "this query tile only, together with --kv-tile" },
    "kv-tile": { value: "NxN…", help: "this key tile only, together with --query-tile" },
    "query-tokens": { value: "N", help: "tokens of the query tiles to compare, 64 by default" },
    "kv-tokens": { value: "N", help: "tokens of the key tiles to compare, 64 by default" },
    placement: {
      value: "window|grid",
      help: "where key tiles start: at the window, the default, or on a grid",
    },
    limit: { value: "N", help: "rows of the table, 20 by default" },
  },
  run: (args) => Promise.try(simulateNeighborhood, args),
};

function simulateNeighborhood(args: Arguments): number {
  const what = args.positional.join(" ");
  if (what !== "neighborhood") {
    throw new UsageError(`Cannot simulate "${what}": what can be simulated is "neighborhood"`);
  }
  const placement = args.choice("placement", ["window", "grid"]) ?? "window";
  const limit = args.integer("limit", 20, 1);
  const axes = axesOf("simulate neighborhood attention", args);
  const pairs = cheapestFirst(axes, tilePairsOf(args, axes), placement);
  if (args.has("json")) printJson({ operator: "neighborhoodAttention", axes, placement, pairs });
  else printPairs(pairs, limit);
  return EXIT.fine;
}

/** The pair that the flags name, or all pairs of the volumes that they name. */
function tilePairsOf(args: Arguments, axes: readonly NeighborhoodAxis[]): TilePair[] {
  const queryTile = tileOf(args, "query-tile", axes.length);
  const keyTile = tileOf(args, "kv-tile", axes.length);
  if (queryTile && keyTile) return [{ queryTile, keyTile }];
  if (queryTile || keyTile) {
    throw new UsageError(
      "Cannot run the command: --query-tile and --kv-tile must be given together",
    );
  }
  const keyTiles = tileShapes(args.integer("kv-tokens", 64, 1), axes);
  return tileShapes(args.integer("query-tokens", 64, 1), axes)
    .flatMap((queryTile) => keyTiles.map((keyTile) => ({ queryTile, keyTile })));
}

function tileOf(args: Arguments, name: string, rank: number): number[] | undefined {
  const sizes = sizesOf(args, name);
  if (!sizes || (sizes.length === rank && sizes.every((size) => size >= 1))) return sizes;
  throw new UsageError(
    `Cannot run the command: --${name} must have a size >= 1 for each of ${rank} token axes, current value is "${
      sizes.join("x")
    }"`,
  );
}

/** Costs in order of visits; equal ones stay in the order of the pairs. */
function cheapestFirst(
  axes: readonly NeighborhoodAxis[],
  pairs: readonly TilePair[],
  placement: TilePlacement,
): Simulated[] {
  return pairs
    .map((pair) => ({ ...pair, ...tileModel(axes, pair, placement) }))
    .sort((a, b) => a.visits - b.visits);
}

function printPairs(pairs: readonly Simulated[], limit: number): void {
  print(table([
    [
      ...["query tile", "kv tile", "visits", "work bound", "busiest bound", "FLOP bound"],
      ...["density", "block-sparse"],
    ],
    ...pairs.slice(0, limit).map((pair) => [
      pair.queryTile.join("x"),
      pair.keyTile.join("x"),
      String(pair.visits),
      figure(pair.workBound),
      figure(pair.busiestBound),
      figure(pair.flopBound),
      figure(pair.density),
      pair.blockSparse ? "yes" : "no",
    ]),
  ]));
  if (pairs.length > limit) print(`${limit} of ${pairs.length} tile pairs`);
}
