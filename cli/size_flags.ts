import type { Arguments, Flag } from "./command.ts";

/** The flags that every operator has whose tensors are heads last. */
export const SIZE_FLAGS: Readonly<Record<string, Flag>> = {
  batch: { value: "N", help: "batch entries, 1 by default" },
  heads: { value: "N", help: "query heads, 8 by default" },
  "kv-heads": { value: "N", help: "key and value heads, as many as query heads by default" },
  "head-dim": { value: "N", help: "D, 64 by default" },
  "value-dim": { value: "N", help: "Dv, the same as D by default" },
  dtype: { value: "f32|f16", help: "storage, f32 by default" },
  schedule: { value: "NAME", help: "kind or full name of a schedule (see devices)" },
};

/** The part of a case that these flags describe. */
export interface SizeCase {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly inputs: "normal";
  readonly seed: number;
  readonly lse: boolean;
  readonly schedule?: string;
}

/** Reads the flags. */
export function sizeCaseOf(args: Arguments): SizeCase {
  const heads = args.integer("heads", 8, 1);
  const headDim = args.integer("head-dim", 64, 1);
  const schedule = args.text("schedule");
  return {
    batch: args.integer("batch", 1, 1),
    heads,
    kvHeads: args.integer("kv-heads", heads, 1),
    headDim,
    valueDim: args.integer("value-dim", headDim, 1),
    dtype: args.choice("dtype", ["f32", "f16"]) ?? "f32",
    inputs: "normal",
    seed: 1,
    lse: false,
    ...(schedule !== undefined && { schedule }),
  };
}
