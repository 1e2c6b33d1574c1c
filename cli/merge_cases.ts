import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { mergeAttention } from "../ops/merge/mod.ts";
import { mergeAttention as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor, TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** Parts of `[1, 50, 3, valueDim]` outputs to merge; a quarter of the rows saw no key. */
interface MergeCase {
  readonly parts: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
}

const CASES: readonly MergeCase[] = [
  { parts: 1, valueDim: 16, dtype: "f32" },
  { parts: 2, valueDim: 16, dtype: "f32" },
  { parts: 5, valueDim: 16, dtype: "f32" },
  { parts: 2, valueDim: 16, dtype: "f16" },
  { parts: 3, valueDim: 7, dtype: "f32" },
];
const [TOKENS, HEADS] = [50, 3];

/** Merging partial results against float64. */
export function mergeGroup(selection: CheckSelection): CheckGroup {
  const items = caseItems(CASES, selection, {
    nameOf: ({ parts, valueDim, dtype }) => `${parts} parts, Dv ${valueDim}, ${dtype}`,
    tolerance: TOLERANCE,
    errorOf,
  });
  return { operator: "mergeAttention", group: "parts", items };
}

async function errorOf(gpu: Gpu, { parts, valueDim, dtype }: MergeCase): Promise<number> {
  const random = new Random(parts);
  const host = (shape: number[], next: () => number, elem: "f32" | "f16"): HostTensor =>
    hostTensor(elem, shape, next);
  const lse = (): number => random.next() < 0.25 ? -Infinity : 20 * random.normal();
  const inputs = Array.from({ length: parts }, () => ({
    out: host([1, TOKENS, HEADS, valueDim], () => random.normal(), dtype),
    lse: host([1, TOKENS, HEADS], lse, "f32"),
  }));
  const tensors = inputs.map((part) => ({
    out: gpu.tensor(part.out.data, part.out.shape) as Tensor<"f32">,
    lse: gpu.tensor(part.lse.data, part.lse.shape) as Tensor<"f32">,
  }));
  const merged = mergeAttention(tensors);
  const [outData, lseData] = [await merged.out.read(), await merged.lse.read()];
  for (const part of [...tensors, merged]) [part.out, part.lse].forEach((x) => x.dispose());
  const expected = reference(inputs);
  return Math.max(
    compareHeads(outData, expected.out.data, HEADS, valueDim).ratio,
    compareHeads(lseData, expected.lse.data, HEADS, 1).ratio,
  );
}
