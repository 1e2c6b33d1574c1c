import { assert, assertEquals, assertThrows } from "@std/assert";
import { CACHE_CASES, cacheCaseName, differences } from "../../cli/cache_cases.ts";
import { Random } from "../../cli/random.ts";
import {
  appendToCache,
  attention,
  compactCache,
  countInvalidPages,
  type KvCache,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

function theGpu() {
  assert(shared !== null);
  return shared;
}

/** B, S, Hkv and the tokens of a page. */
const [BATCH, ROOM, HEADS, PAGE] = [2, 16, 3, 4];

function emptyCache(dtype: "f32" | "f16", width: number, paged: boolean): KvCache {
  const gpu = theGpu();
  const size = BATCH * ROOM * HEADS * width;
  const shape = paged ? [BATCH * ROOM / PAGE, PAGE, HEADS, width] : [BATCH, ROOM, HEADS, width];
  const tensor = () =>
    gpu.tensor(dtype === "f16" ? new Float16Array(size) : new Float32Array(size), shape);
  const pages = Int32Array.of(3, 1, 7, 0, 2, 5, 4, 6);
  return {
    ...{ k: tensor(), v: tensor(), lengths: gpu.tensor(Int32Array.of(0, 5), [BATCH]) },
    ...(paged && { pageTable: gpu.tensor(pages, [BATCH, ROOM / PAGE]) }),
  };
}

for (const c of CACHE_CASES) {
  Deno.test({
    name: `appendToCache() writes behind what is there: ${cacheCaseName(c)}`,
    ignore,
    async fn() {
      assertEquals(await differences(theGpu(), c), 0);
    },
  });
}

Deno.test({
  name: "appendToCache() and attention() decode as attention over all tokens does",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(3);
    const draw = (shape: number[]): Float32Array<ArrayBuffer> =>
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
    const [tokens, width] = [13, 8];
    const shape = [1, tokens, 2, width];
    const data = { q: draw([1, tokens, 4, width]), k: draw(shape), v: draw(shape) };
    const whole = attention(
      gpu.tensor(data.q, [1, tokens, 4, width]),
      gpu.tensor(data.k, shape),
      gpu.tensor(data.v, shape),
      { causal: true },
    );
    const room = () => gpu.tensor(new Float32Array(4 * 4 * 2 * width), [4, 4, 2, width]);
    const cache = {
      ...{ k: room(), v: room(), lengths: gpu.tensor(new Int32Array(1), [1]) },
      pageTable: gpu.tensor(Int32Array.of(2, 0, 3, 1), [1, 4]),
    };
    const outs: number[] = [];
    for (const [first, end] of [[0, 5], [5, 6], [6, 9], [9, 13]]) { // several queries at once, too
      const part = (name: "q" | "k" | "v", heads: number) =>
        gpu.tensor(data[name].slice(first * heads * width, end * heads * width), [
          ...[1, end - first, heads, width],
        ]);
      appendToCache(cache, part("k", 2), part("v", 2));
      const { lengths: kvLengths, pageTable } = cache;
      const { out } = attention(part("q", 4), cache.k, cache.v, {
        ...{ causal: true, kvLengths, pageTable },
      });
      outs.push(...await out.read());
    }
    const expected = Float64Array.from(await whole.out.read());
    const difference = outs.map((x, i) => Math.abs(x - expected[i]));
    assert(Math.max(...difference) < 1e-5, `${Math.max(...difference)}`);
  },
});

Deno.test({
  name: "compactCache() moves the tokens that are kept to the front, head by head",
  ignore,
  async fn() {
    const gpu = theGpu();
    for (const dtype of ["f32", "f16"] as const) {
      for (const width of [4, 5]) {
        const size = BATCH * ROOM * 2 * width;
        const data = Float32Array.from({ length: size }, (_, i) => i % 2000);
        const tensor = () =>
          gpu.tensor(dtype === "f16" ? new Float16Array(data) : data, [BATCH, ROOM, 2, width]);
        const cache = {
          ...{ k: tensor(), v: tensor(), lengths: gpu.tensor(Int32Array.of(16, 16), [BATCH]) },
        };
        const indices = Int32Array.of(15, 3, 0, 2, 2, 9, 1, 0, 14, 7, 6, 5); // [B, H, 3]
        compactCache(cache, gpu.tensor(indices, [BATCH, 2, 3]));
        for (const stored of [await cache.k.read(), await cache.v.read()]) {
          for (let b = 0; b < BATCH; b++) {
            for (let h = 0; h < 2; h++) {
              for (let m = 0; m < 3; m++) {
                const token = indices[(b * 2 + h) * 3 + m];
                const [at, from] = [m, token].map((t) => ((b * ROOM + t) * 2 + h) * width);
                assertEquals(
                  [...stored.subarray(at, at + width)],
                  [...data.subarray(from, from + width)],
                );
              }
            }
          }
        }
      }
    }
  },
});

Deno.test({
  name: "countInvalidPages() counts the entries that are used and name no page",
  ignore,
  async fn() {
    const gpu = theGpu();
    const table = Int32Array.from({ length: 3 * 100 }, (_, i) => i % 7 === 0 ? -1 - i : i % 50);
    const pageTable = gpu.tensor(table, [3, 100]);
    const lengths = gpu.tensor(Int32Array.of(0, 161, 100_000), [3]);
    const wanted = (row: number, used: number): number =>
      table.subarray(row * 100, row * 100 + used).filter((page) => page < 0 || page >= 40).length;
    const all = await countInvalidPages(pageTable, { pages: 40 }).read();
    assertEquals([...all], [0, 1, 2].map((row) => wanted(row, 100)));
    const some = await countInvalidPages(pageTable, { pages: 40, lengths, pageSize: 4 }).read();
    assertEquals([...some], [0, wanted(1, 41), wanted(2, 100)]);
  },
});

/** Tests that a call throws exactly this. */
function testRefusal(name: string, call: () => unknown, message: string): void {
  Deno.test({
    name: `${name} is refused`,
    ignore,
    fn: () => {
      const before = theGpu().memory().tensors;
      theGpu().scope(() => assertEquals(assertThrows(call, Error).message, message));
      assertEquals(theGpu().memory().tensors, before);
    },
  });
}

const token = (...shape: number[]): Tensor<"f32"> =>
  theGpu().tensor(new Float32Array(shape.reduce((a, b) => a * b)), shape);

testRefusal(
  "appendToCache() of another head count",
  () => appendToCache(emptyCache("f32", 4, false), token(2, 1, 2, 4), token(2, 1, 2, 4)),
  "Cannot append to a cache as k must be [2,1,3,4]: k is [2,1,2,4]",
);
testRefusal(
  "appendToCache() of another dtype",
  () => appendToCache(emptyCache("f16", 4, false), token(2, 1, 3, 4), token(2, 1, 3, 4)),
  "Cannot append to a cache as k must be f16: k is f32",
);
testRefusal(
  "appendToCache() with sinks and no ring",
  () =>
    appendToCache(emptyCache("f32", 4, false), token(2, 1, 3, 4), token(2, 1, 3, 4), { sinks: 2 }),
  "Cannot append to a cache as sinks must be an integer from 0 to 0 (less than the capacity of a ring, else 0): sinks is 2",
);
testRefusal(
  "appendToCache() with a page that is not there",
  () =>
    appendToCache(
      { ...emptyCache("f32", 4, true), pageTable: theGpu().tensor(Int32Array.of(0, 9), [2, 1]) },
      token(2, 1, 3, 4),
      token(2, 1, 3, 4),
    ),
  "Cannot append to a cache as cache.pageTable must name pages that are there, >= 0 and < 8: one is 9",
);
testRefusal(
  "appendToCache() without a cache",
  () => appendToCache(null as unknown as KvCache, token(1, 1, 1, 1), token(1, 1, 1, 1)),
  "Cannot append to a cache as cache must be a record { k, v, lengths }: cache is null",
);
testRefusal(
  "compactCache() of pages",
  () => compactCache(emptyCache("f32", 4, true), theGpu().tensor(Int32Array.of(0, 0), [2, 1])),
  "Cannot compact a cache as its tokens must be in rows: it has a pageTable",
);
testRefusal(
  "compactCache() with an index that is out of range",
  () => compactCache(emptyCache("f32", 4, false), theGpu().tensor(Int32Array.of(0, 16), [2, 1])),
  "Cannot compact a cache as indices must be >= 0 and < 16: one is 16",
);
testRefusal(
  "compactCache() with lists of another batch",
  () => compactCache(emptyCache("f32", 4, false), theGpu().tensor(Int32Array.of(0, 1), [1, 2])),
  "Cannot compact a cache as indices must be [B, M] or [B, H, M] with B = 2, H a divisor of 3 and M <= 16: indices is [1,2]",
);
testRefusal(
  "countInvalidPages() of no number of pages",
  () =>
    countInvalidPages(theGpu().tensor(Int32Array.of(0), [1, 1]), {
      pages: -1,
    }),
  "Cannot count invalid pages as pages must be an integer >= 0: pages is -1",
);
