import {
  neighborhoodAxes,
  type NeighborhoodAxis,
  type NeighborhoodPattern,
} from "../ops/neighborhood/axes.ts";
import { type Arguments, type Flag, UsageError } from "./command.ts";
import type { NeighborhoodCase } from "./neighborhood_case.ts";
import { SIZE_FLAGS, sizeCaseOf } from "./size_flags.ts";

/** The flags that describe a layout of tokens and which neighbours see each other. */
export const NEIGHBORHOOD_FLAGS: Readonly<Record<string, Flag>> = {
  layout: { value: "XxYxZ", help: "tokens on each of 1 to 3 axes, such as 64x64" },
  "window-size": { value: "N|NxN…", help: "keys seen on every axis, or on each" },
  stride: { value: "N|NxN…", help: "queries that share a window, 1 by default" },
  dilation: { value: "N|NxN…", help: "distance between neighbouring keys, 1 by default" },
  causal: { value: "true|false,…", help: "hide later keys on every axis, or on each" },
};

/** The flags that describe a problem of neighborhood attention. */
export const NEIGHBORHOOD_PROBLEM_FLAGS: Readonly<Record<string, Flag>> = {
  ...SIZE_FLAGS,
  ...NEIGHBORHOOD_FLAGS,
  additional: { value: "N", help: "additional keys, which every query sees; none by default" },
};

/** The token axes that the flags describe; `action` begins the message where a rule is broken. */
export function axesOf(action: string, args: Arguments): NeighborhoodAxis[] {
  return neighborhoodAxes(action, layoutOf(args), patternOf(args));
}

/** Tokens on each axis. */
export function layoutOf(args: Arguments): number[] {
  return parseSizes("layout", args.required("layout"));
}

/** Which keys a query sees: the library's options, not yet validated. */
export function patternOf(args: Arguments): NeighborhoodPattern {
  const causal = args.text("causal");
  const stride = sizesOf(args, "stride");
  const dilation = sizesOf(args, "dilation");
  return {
    windowSize: oneOrEach(parseSizes("window-size", args.required("window-size"))),
    ...(stride && { stride: oneOrEach(stride) }),
    ...(dilation && { dilation: oneOrEach(dilation) }),
    ...(causal !== undefined && { causal: oneOrEach(parseCausal(causal)) }),
  };
}

/** The sizes of a flag such as `--query-tile 16x8`, or undefined where it is absent. */
export function sizesOf(args: Arguments, name: string): number[] | undefined {
  const text = args.text(name);
  return text === undefined ? undefined : parseSizes(name, text);
}

function parseSizes(name: string, text: string): number[] {
  const sizes = text.split("x").map(Number);
  if (/^\d+(x\d+){0,2}$/.test(text) && sizes.every(Number.isSafeInteger)) return sizes;
  throw new UsageError(
    `Cannot run the command: --${name} must be 1 to 3 integers such as 16x8, current value is "${text}"`,
  );
}

function parseCausal(text: string): boolean[] {
  const words = text.split(",");
  if (words.length <= 3 && words.every((word) => word === "true" || word === "false")) {
    return words.map((word) => word === "true");
  }
  throw new UsageError(
    `Cannot run the command: --causal must be true or false, or one of them for each axis such as true,false, current value is "${text}"`,
  );
}

/** The case that the flags describe. */
export function neighborhoodCaseOf(args: Arguments): NeighborhoodCase {
  const additional = args.integer("additional", 0);
  return {
    ...sizeCaseOf(args),
    layout: layoutOf(args),
    pattern: patternOf(args),
    ...(additional > 0 && { additional }),
  };
}

/** A single value stands for every axis. */
function oneOrEach<T>(values: readonly T[]): T | readonly T[] {
  return values.length === 1 ? values[0] : values;
}
