import { mergeAttention, type WeighedPart } from "../ops/merge/mod.ts";
import type { Runnable } from "./runnable.ts";

/** `run mergeAttention`: part n is what the files parts.n.out.npy, parts.n.lse.npy or parts.n.aux.npy hold. */
export const RUN_MERGE: Runnable = {
  parameters: [],
  tensorOptions: [],
  openRecords: ["parts"],
  allOutputs: {},
  call(_, { parts = {}, ...options }) {
    return mergeAttention(listed(parts as Readonly<Record<string, unknown>>), options);
  },
};

/** The parts in order, from their tensors by `<n>.<name>`. */
function listed(tensors: Readonly<Record<string, unknown>>): WeighedPart[] {
  const parts = new Map<number, Record<string, unknown>>();
  for (const [key, tensor] of Object.entries(tensors)) {
    const [, n, name] = /^(\d+)\.(out|lse|aux)$/.exec(key) ?? [];
    if (n === undefined) {
      throw new TypeError(
        `Cannot run mergeAttention as files of parts must be parts.<n>.out, .lse or .aux: one is parts.${key}`,
      );
    }
    parts.set(Number(n), { ...parts.get(Number(n)), [name]: tensor });
  }
  return Array.from({ length: parts.size }, (_, n) => {
    const part = parts.get(n);
    if (part !== undefined) return part as unknown as WeighedPart;
    throw new TypeError(
      `Cannot run mergeAttention as parts must be numbered from 0: part ${n} of ${parts.size} is missing`,
    );
  });
}
