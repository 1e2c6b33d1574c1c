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
  readonly weight?: keyof typeof KEPT;
  /** Whether parts have coefficients: a number, one for each head, one for each row, and again. */
  readonly coefficients?: "mix" | "masses";
}

const CASES: readonly MergeCase[] = [
  { parts: 1, valueDim: 16, dtype: "f32" },
  { parts: 2, valueDim: 16, dtype: "f32" },
  { parts: 5, valueDim: 16, dtype: "f32" },
  { parts: 2, valueDim: 16, dtype: "f16" },
  { parts: 3, valueDim: 7, dtype: "f32" },
  { parts: 3, valueDim: 16, dtype: "f32", weight: "softplus" },
  { parts: 3, valueDim: 16, dtype: "f16", weight: "sigmoid" },
  { parts: 4, valueDim: 16, dtype: "f32", weight: "stickBreaking" },
  { parts: 3, valueDim: 16, dtype: "f32", coefficients: "mix" },
  { parts: 4, valueDim: 16, dtype: "f32", coefficients: "masses" },
  { parts: 3, valueDim: 16, dtype: "f16", weight: "softplus", coefficients: "masses" },
];
const [TOKENS, HEADS] = [50, 3];

/** What weights keep of a row that saw a key, and of one that did not. */
const KEPT = {
  softmax: [(random: Random) => 20 * random.normal(), -Infinity],
  softplus: [(random: Random) => 20 * random.next(), 0],
  sigmoid: [() => NaN, NaN],
  stickBreaking: [(random: Random) => -2 * random.next(), 0],
} as const;

/** Merging partial results against float64. */
export function mergeGroup(selection: CheckSelection): CheckGroup {
  const items = caseItems(CASES, selection, {
    nameOf: ({ parts, valueDim, dtype, weight, coefficients }) =>
      [`${parts} parts`, `Dv ${valueDim}`, dtype, weight, coefficients]
        .filter((part) => part !== undefined).join(", "),
    tolerance: TOLERANCE,
    errorOf,
  });
  return { operator: "mergeAttention", group: "parts", items };
}

async function errorOf(gpu: Gpu, c: MergeCase): Promise<number> {
  const { parts, valueDim, dtype, weight = "softmax" } = c;
  const random = new Random(parts);
  const [some, none] = KEPT[weight];
  const rows = [1, TOKENS, HEADS];
  const inputs = Array.from({ length: parts }, () => ({
    out: hostTensor(dtype, [...rows, valueDim], () => random.normal()),
    aux: hostTensor("f32", rows, () => random.next() < 0.25 ? none : some(random)),
  }));
  const factors = c.coefficients === undefined
    ? undefined
    : inputs.map((_, p) =>
      p % 3 === 0
        ? random.normal()
        : hostTensor("f32", p % 3 === 1 ? [HEADS] : rows, () => random.normal())
    );
  const upload = ({ data, shape }: HostTensor) => gpu.tensor(data, shape) as Tensor<"f32">;
  const tensors = inputs.map(({ out, aux }) => ({ out: upload(out), aux: upload(aux) }));
  const coefficients = factors?.map((factor) =>
    typeof factor === "number" ? factor : upload(factor)
  );
  const options = { weight, masses: c.coefficients === "masses" };
  const merged = mergeAttention(tensors, { ...options, ...(coefficients && { coefficients }) });
  const aux = merged.lse ?? merged.aux;
  const [outData, auxData] = [await merged.out.read(), await aux?.read()];
  const made = [...tensors, { out: merged.out, aux }].flatMap((part) => [part.out, part.aux]);
  for (const x of [...made, ...(coefficients ?? [])]) if (typeof x === "object") x.dispose();
  const expected = reference(inputs, { ...options, ...(factors && { coefficients: factors }) });
  return Math.max(
    compareHeads(outData, expected.out.data, HEADS, valueDim).ratio,
    compareHeads(auxData ?? [], expected.aux?.data ?? [], HEADS, 1).ratio,
  );
}
