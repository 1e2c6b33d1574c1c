import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { linearAttentionFull, type LinearAttentionFullOptions } from "../ops/recurrence/mod.ts";
import { linearAttentionFull as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { hostTensor, TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface FullCase {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  /** HQ, HK and HV. */
  readonly qHeads: number;
  readonly kHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly weights: boolean;
  readonly options: Omit<LinearAttentionFullOptions, "tokenWeights" | "hedgehogWeights">;
}

type Part = Partial<FullCase>;

/** The settings of LinFusion, RALA, SLAB and InLine, and what else there is. */
const CASES: readonly Part[] = [
  { options: { featureMap: "elu1", eps: 1e-4 * 90, scale: 1 } },
  { options: { featureMap: "elu1", eps: 1e-6 * 90, scale: 1 }, weights: true },
  { options: { featureMap: "relu", scale: 1 } },
  { options: { subtractMean: true } },
  { options: { subtractMean: true, featureMap: "exp" }, weights: true },
  { options: { featureMap: "exp", normalize: false } },
  { options: {} },
  { options: { featureMap: "taylor2" }, keyDim: 5 },
  { options: { featureMap: "hedgehog" }, weights: true },
  { options: { featureMap: "elu1" }, qHeads: 4, kHeads: 1, weights: true },
  { options: { featureMap: "elu1" }, keyDim: 7, valueDim: 5, heads: 4 },
  { options: { featureMap: "elu1" }, dtype: "f16", weights: true },
  { options: { subtractMean: true }, dtype: "f16" },
  { options: { featureMap: "relu" }, keys: 1 },
  { options: { featureMap: "elu1" }, queries: 700, keys: 1500, batch: 1 },
];

/** Linear attention over all keys against float64. */
export function fullGroup(selection: CheckSelection): CheckGroup {
  const cases = (selection.quick ? CASES.slice(0, 4) : CASES).map(caseOf);
  const items = caseItems(cases, selection, { nameOf, tolerance: TOLERANCE, errorOf });
  return { operator: "linearAttentionFull", group: "settings", items };
}

function caseOf(part: Part): FullCase {
  return {
    ...{ batch: 2, queries: 40, keys: 90, qHeads: 2, kHeads: 2, heads: 2, keyDim: 16 },
    ...{ valueDim: 24, dtype: "f32", weights: false, options: {} },
    ...part,
  };
}

function nameOf(c: FullCase): string {
  const options = Object.entries<unknown>(c.options).map(([name, value]) => `${name} ${value}`);
  return [
    `B${c.batch} T${c.queries} S${c.keys} HQ${c.qHeads} HK${c.kHeads} HV${c.heads}`,
    `K${c.keyDim} V${c.valueDim} ${c.dtype}`,
    ...(c.weights ? ["weights"] : []),
    ...options,
  ].join(" ");
}

async function errorOf(gpu: Gpu, c: FullCase): Promise<number> {
  const { batch, queries, keys, qHeads, kHeads, heads, keyDim, valueDim, dtype, options } = c;
  const random = new Random(1);
  const host = (shape: number[]) => hostTensor(dtype, shape, () => random.normal());
  const inputs = {
    q: host([batch, queries, qHeads, keyDim]),
    k: host([batch, keys, kHeads, keyDim]),
    v: host([batch, keys, heads, valueDim]),
  };
  const weights = hostTensor(dtype, [batch, keys, kHeads], () => random.next());
  using stack = new DisposableStack();
  const upload = ({ data, shape }: typeof weights): Tensor<"f32"> =>
    stack.use(gpu.tensor(data, shape)) as Tensor<"f32">;
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map(upload);
  const more = c.weights ? { tokenWeights: upload(weights) } : {};
  const { out } = linearAttentionFull(q, k, v, { ...options, ...more });
  const computed = await stack.use(out).read();
  const expected = reference(inputs.q, inputs.k, inputs.v, {
    ...options as object,
    ...(c.weights && { tokenWeights: weights }),
  });
  return compareHeads(computed, expected.out.data, Math.max(qHeads, heads), valueDim).ratio;
}
