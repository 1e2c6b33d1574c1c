import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { appendToCache } from "../ops/cache/mod.ts";
import { appendToCache as reference, type KvCache } from "../reference/mod.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A cache and the tokens of calls that append to it. */
export interface CacheCase {
  readonly dtype: "f32" | "f16";
  readonly headDim: number;
  readonly valueDim: number;
  readonly paged: boolean;
  readonly ring: boolean;
  readonly sinks: number;
  /** Tokens of each call. */
  readonly calls: readonly number[];
}

/** B, Hkv, tokens of a batch entry and of a page, and how many there have been. */
const [BATCH, HEADS, CAPACITY, PAGE] = [2, 3, 16, 4];
const LENGTHS = [0, 5];
const PAGES = [3, 1, 7, 0, 2, 5, 4, 6];

/** Past the end, more than a ring at once, none. */
const CALLS: readonly number[] = [3, 1, 0, 9, 1, 5, 20, 1];

/** All of `check`: rows and pages, with a ring and without, whole vec4s and not. */
export const CACHE_CASES: readonly CacheCase[] = (["f32", "f16"] as const).flatMap((dtype) =>
  [false, true].flatMap((paged) =>
    ([[false, 0], [true, 0], [true, 3]] as const).flatMap(([ring, sinks]) =>
      [[8, 4], [5, 7]].map(([headDim, valueDim]) => ({
        ...{ dtype, headDim, valueDim, paged, ring, sinks, calls: CALLS },
      }))
    )
  )
);

/** Appending to caches, which is exact. */
export function cacheGroup(selection: CheckSelection): CheckGroup {
  const items = caseItems(CACHE_CASES, selection, {
    ...{ nameOf: cacheCaseName, tolerance: { f32: 0, f16: 0 }, errorOf: differences },
  });
  return { operator: "appendToCache", group: "places", items };
}

/** One line that tells a case from its neighbours. */
export function cacheCaseName(c: CacheCase): string {
  const ring = c.ring ? ` ring, ${c.sinks} sinks` : "";
  return `D${c.headDim}/${c.valueDim} ${c.dtype} ${c.paged ? "pages" : "rows"}${ring}`;
}

/** Appends call by call and counts the elements that are not those of the oracle. */
export async function differences(gpu: Gpu, c: CacheCase): Promise<number> {
  const random = new Random(CAPACITY);
  const draw = (shape: readonly number[]): HostTensor =>
    hostTensor(c.dtype, shape, () => random.normal());
  const stored = c.paged ? [BATCH * CAPACITY / PAGE, PAGE] : [BATCH, CAPACITY];
  const host = {
    k: draw([...stored, HEADS, c.headDim]),
    v: draw([...stored, HEADS, c.valueDim]),
    lengths: { data: Int32Array.from(LENGTHS), shape: [BATCH] },
    ...(c.paged &&
      { pageTable: { data: Int32Array.from(PAGES), shape: [BATCH, CAPACITY / PAGE] } }),
  };
  using stack = new DisposableStack();
  const upload = ({ data, shape }: HostTensor | typeof host.lengths): Tensor =>
    stack.use(gpu.tensor(data as Float32Array<ArrayBuffer>, shape));
  const cache = {
    ...{ k: upload(host.k), v: upload(host.v), lengths: upload(host.lengths) },
    ...(host.pageTable && { pageTable: upload(host.pageTable) }),
  };
  let expected: KvCache = host;
  for (const tokens of c.calls) {
    const k = draw([BATCH, tokens, HEADS, c.headDim]);
    const v = draw([BATCH, tokens, HEADS, c.valueDim]);
    appendToCache(cache, upload(k), upload(v), { ring: c.ring, sinks: c.sinks });
    expected = { ...expected, ...reference(expected, k, v, { ring: c.ring, sinks: c.sinks }) };
  }
  const pairs = (["k", "v", "lengths"] as const).map(async (name) => {
    const actual = await cache[name].read();
    const wanted = expected[name].data;
    return [...actual].filter((x, i) => x !== wanted[i]).length;
  });
  return (await Promise.all(pairs)).reduce((sum, count) => sum + count, 0);
}
