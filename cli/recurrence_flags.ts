import type { Arguments, Flag } from "./command.ts";
import type { RecurrenceCase } from "./recurrence_case.ts";
import { SIZE_FLAGS } from "./size_flags.ts";

/** The flags that describe a problem of a recurrence whose gates have one shape. */
export const GATED_FLAGS: Readonly<Record<string, Flag>> = {
  batch: SIZE_FLAGS.batch,
  length: { value: "N", help: "tokens, 4096 by default" },
  heads: { value: "N", help: "heads of values and states, 4 by default" },
  "q-heads": { value: "N", help: "query heads, as many as states by default" },
  "k-heads": { value: "N", help: "key heads, as many as states by default" },
  "key-dim": { value: "N", help: "K, 64 by default" },
  "value-dim": { value: "N", help: "V, the same as K by default" },
  dtype: SIZE_FLAGS.dtype,
  mode: { value: "auto|loop|chunk", help: "how tokens are walked, auto by default" },
  "chunk-size": { value: "16|32|64", help: "tokens of a chunk, 64 by default" },
  state: { help: "find a state and leave one, as a step of decoding does with --length 1" },
  "in-place": { help: "the same, in the place of the state that is found" },
  schedule: SIZE_FLAGS.schedule,
};

const GATE_SHAPES = ["none", "head", "token", "channel"] as const;

/** The flags that describe a problem of the engine. */
export const RECURRENCE_FLAGS: Readonly<Record<string, Flag>> = {
  ...GATED_FLAGS,
  gate: { value: GATE_SHAPES.join("|"), help: "what has a decay of its own, token by default" },
  "value-gate": { help: "decays of value channels too" },
  bonus: { help: "read the state before the write" },
  normalize: { help: "divide by the running sum of the keys" },
};

/** The case that the flags describe. */
export function recurrenceCaseOf(args: Arguments): RecurrenceCase {
  const gate = args.choice("gate", GATE_SHAPES) ?? "token";
  return {
    ...gatedCaseOf(args, gate),
    ...(args.has("value-gate") && { valueGate: true }),
    ...(args.has("bonus") && { bonus: true }),
    ...(args.has("normalize") && { normalize: true }),
  };
}

/** The case that the flags describe, with gates of a shape. */
export function gatedCaseOf(args: Arguments, gate: RecurrenceCase["gate"]): RecurrenceCase {
  const heads = args.integer("heads", 4, 1);
  const keyDim = args.integer("key-dim", 64, 1);
  const mode = args.choice("mode", ["auto", "loop", "chunk"]);
  const chunkSize = args.choice("chunk-size", ["16", "32", "64"]);
  const schedule = args.text("schedule");
  return {
    batch: args.integer("batch", 1, 1),
    length: args.integer("length", 4096),
    heads,
    qHeads: args.integer("q-heads", heads, 1),
    kHeads: args.integer("k-heads", heads, 1),
    keyDim,
    valueDim: args.integer("value-dim", keyDim, 1),
    dtype: args.choice("dtype", ["f32", "f16"]) ?? "f32",
    gate,
    gates: "gentle",
    seed: 1,
    ...(mode && { mode }),
    ...((args.has("state") || args.has("in-place")) && { initial: true, final: true }),
    ...(args.has("in-place") && { inPlace: true }),
    ...(chunkSize && { chunkSize: Number(chunkSize) as 16 | 32 | 64 }),
    ...(schedule !== undefined && { schedule }),
  };
}
