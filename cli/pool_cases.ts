import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { type PoolKind, poolTokens } from "../ops/pool/mod.ts";
import { poolTokens as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor, TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface PoolCase {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly dim: number;
  readonly block: number;
  readonly kind: PoolKind;
  readonly dtype: "f32" | "f16";
  readonly cuSeqlens?: readonly number[];
}

const KINDS: readonly PoolKind[] = ["mean", "max", "min", "first", "last", "attention"];

/** Blocks of one invocation and of several, rows that are whole vec4s and not, packed sequences. */
const FORMS: readonly Partial<PoolCase>[] = [
  {},
  { dtype: "f16", dim: 5 },
  { length: 333, block: 100, dim: 64, dtype: "f16" },
  { batch: 1, cuSeqlens: [0, 0, 1, 40, 40, 130], block: 64, dim: 7 },
];

/** Pooling against float64. */
export function poolGroup(selection: CheckSelection): CheckGroup {
  const forms = FORMS.flatMap((form) => KINDS.map((kind) => caseOf({ ...form, kind })));
  const long = caseOf({ batch: 1, length: 70_000, block: 70_000, heads: 1, dim: 4, kind: "mean" });
  const items = caseItems(selection.quick ? forms : [...forms, long], selection, {
    ...{ nameOf, tolerance: TOLERANCE, errorOf },
  });
  return { operator: "poolTokens", group: "kinds", items };
}

function caseOf(part: Partial<PoolCase>): PoolCase {
  const sizes = { batch: 2, length: 130, heads: 3, dim: 16, block: 16 };
  return { ...sizes, kind: "mean", dtype: "f32", ...part };
}

function nameOf({ batch, length, heads, dim, block, kind, dtype, cuSeqlens }: PoolCase): string {
  const packed = cuSeqlens ? ` packed ${cuSeqlens}` : "";
  return `${kind} B${batch} T${length} H${heads} D${dim} block ${block} ${dtype}${packed}`;
}

async function errorOf(gpu: Gpu, c: PoolCase): Promise<number> {
  const { batch, length, heads, dim, block, kind, dtype, cuSeqlens } = c;
  const random = new Random(length + block);
  const logit = (): number => random.next() < 0.2 ? -Infinity : 5 * random.normal();
  const x = hostTensor(dtype, [batch, length, heads, dim], () => random.normal());
  const weights = hostTensor("f32", [batch, length, heads], logit);
  const weighed = kind === "attention";
  const expected = reference(x, {
    ...{ block, kind, ...(weighed && { weights }) },
    ...(cuSeqlens && { cuSeqlens: { data: cuSeqlens, shape: [cuSeqlens.length] } }),
  });

  using stack = new DisposableStack();
  const upload = ({ data, shape }: HostTensor): Tensor<"f32"> =>
    stack.use(gpu.tensor(data, shape)) as Tensor<"f32">;
  const out = stack.use(poolTokens(upload(x), {
    ...{ block, kind, ...(weighed && { weights: upload(weights) }) },
    ...(cuSeqlens &&
      { cuSeqlens: stack.use(gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length])) }),
  }));
  return compareHeads(await out.read(), expected.data, heads, dim).ratio;
}
