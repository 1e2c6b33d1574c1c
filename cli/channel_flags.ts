import type { ChannelCase } from "./channel_workload.ts";
import type { Arguments, Flag } from "./command.ts";
import { SIZE_FLAGS } from "./size_flags.ts";
import type { SweepKeys } from "./sweep.ts";

/** The flags of every operator whose channels stand side by side. */
export const CHANNEL_FLAGS: Readonly<Record<string, Flag>> = {
  batch: SIZE_FLAGS.batch,
  length: { value: "N", help: "tokens, 4096 by default" },
  channels: { value: "N", help: "C, 256 by default" },
  dtype: SIZE_FLAGS.dtype,
  state: { help: "find a state and leave one, as a step of decoding does with --length 1" },
};

/** Sizes that a sweep of any of them may change. */
export const CHANNEL_SWEEPS: SweepKeys<ChannelCase> = {
  t: (size) => ({ length: size }),
  batch: (size) => ({ batch: size }),
  channels: (size) => ({ channels: size }),
};

/** The part of a case that these flags describe. */
export function channelCaseOf(args: Arguments): ChannelCase {
  return {
    batch: args.integer("batch", 1, 1),
    length: args.integer("length", 4096),
    channels: args.integer("channels", 256, 1),
    dtype: args.choice("dtype", ["f32", "f16"]) ?? "f32",
    seed: 1,
    ...(args.has("state") && { state: true }),
  };
}

/** How the flags say that tokens are walked. */
export const WALK_FLAGS: Readonly<Record<string, Flag>> = {
  mode: { value: "auto|loop|chunk", help: "how tokens are walked, auto by default" },
  "chunk-size": { value: "16|32|64|128|256", help: "tokens of a chunk, 64 by default" },
};

/** How tokens are walked. */
export interface Walk {
  readonly mode?: "auto" | "loop" | "chunk";
  readonly chunkSize?: 16 | 32 | 64 | 128 | 256;
}

/** The part of a case that these flags describe. */
export function walkOf(args: Arguments): Walk {
  const mode = args.choice("mode", ["auto", "loop", "chunk"]);
  const chunkSize = args.choice("chunk-size", ["16", "32", "64", "128", "256"]);
  return {
    ...(mode && { mode }),
    ...(chunkSize && { chunkSize: Number(chunkSize) as 16 | 32 | 64 | 128 | 256 }),
  };
}

/** The words for it in the name of a case. */
export function walkWords({ mode, chunkSize }: Walk): string[] {
  return [mode, chunkSize?.toString()].filter((word) => word !== undefined);
}
