import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  type BlockMap,
  blockMapFromIndices,
  blockMapFromMatrix,
  type BlockMapOptions,
  compileBlockMap,
  type Gpu,
  HookError,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function gpu(): Gpu {
  assert(shared !== null);
  return shared;
}

const i32 = (shape: number[], ...data: number[]): Tensor<"i32"> =>
  gpu().tensor(Int32Array.from(data), shape);

interface Pair {
  b: number;
  h: number;
  i: number;
  j: number;
}

/** The states of all blocks, pair by pair: 0 where a mask hides all, 1 some, 2 none. */
function statesOf(map: BlockMap, mask: (at: Pair) => boolean): Uint8Array {
  const states: number[] = [];
  const range = (first: number, end: number) =>
    Array.from({ length: end - first }, (_, n) => first + n);
  for (let b = 0; b < map.batch; b++) {
    for (let h = 0; h < map.heads; h++) {
      for (let i0 = 0; i0 < map.qLen; i0 += map.queryBlock) {
        for (let j0 = 0; j0 < map.kvLen; j0 += map.keyBlock) {
          const keys = range(j0, Math.min(j0 + map.keyBlock, map.kvLen));
          const seen = range(i0, Math.min(i0 + map.queryBlock, map.qLen))
            .flatMap((i) => keys.map((j) => mask({ b, h, i, j })));
          states.push(seen.every(Boolean) ? 2 : seen.some(Boolean) ? 1 : 0);
        }
      }
    }
  }
  return Uint8Array.from(states);
}

const MASK = "j <= i + b && (i / 16 + j / 8 + h) % 3 != 0";
const maskOf = ({ b, h, i, j }: Pair): boolean =>
  j <= i + b && (Math.floor(i / 16) + Math.floor(j / 8) + h) % 3 !== 0;
const SIZES = { qLen: 75, kvLen: 130, batch: 2, heads: 3 };

for (const [queryBlock, keyBlock] of [[1, 1], [16, 24], [24, 16], [64, 64], [100, 8], [7, 200]]) {
  Deno.test({
    name: `compileBlockMap() finds empty, partial and full blocks of ${queryBlock} x ${keyBlock}`,
    ignore,
    async fn() {
      using map = compileBlockMap(gpu(), MASK, { ...SIZES, queryBlock, keyBlock });
      const expected = statesOf(map, maskOf);

      assertEquals(await map.matrix(), expected);
      assertEquals(
        await map.density(),
        expected.reduce((sum, state) => sum + Number(state > 0), 0) / expected.length,
      );
      assertEquals(map.queryBlocks, Math.ceil(75 / queryBlock));
      assertEquals(map.keyBlocks, Math.ceil(130 / keyBlock));
    },
  });
}

Deno.test({
  name: "compileBlockMap() lists more blocks than a workgroup has invocations, in order",
  ignore,
  async fn() {
    using map = compileBlockMap(gpu(), "(j / 3 + i) % 7 != 2", {
      ...{ qLen: 5, kvLen: 1000, queryBlock: 1, keyBlock: 3 },
    });
    const [counts, list] = [await map.counts.read(), await map.list.read()];

    assertEquals(
      await map.matrix(),
      statesOf(map, ({ i, j }) => (Math.floor(j / 3) + i) % 7 !== 2),
    );
    counts.forEach((count, row) => {
      const own = list.subarray(row * map.keyBlocks, row * map.keyBlocks + count);
      assertEquals(own, own.toSorted());
    });
  },
});

Deno.test({
  name: "compileBlockMap() needs all of several masks, and what they read",
  ignore,
  async fn() {
    using reach = i32([2], 5, 60);
    using map = compileBlockMap(
      gpu(),
      ["j <= i", { code: "i - j <= reach(h) + i32(more)", inputs: { reach } }],
      { qLen: 90, kvLen: 90, heads: 2, queryBlock: 16, keyBlock: 16, inputs: { more: 3 } },
    );

    assertEquals(
      await map.matrix(),
      statesOf(map, ({ h, i, j }) => j <= i && i - j <= [5, 60][h] + 3),
    );
  },
});

/** A matrix of `[2, 3, 5, 6]` and the map of 75 x 130 that it is for. */
const BLOCKED = { ...SIZES, queryBlock: 16, keyBlock: 24 };
const GIVEN = Array.from(
  { length: 2 * 3 * 5 * 6 },
  ((random) => () => random.integer(0, 1))(
    new Random(3),
  ),
);

Deno.test({
  name: "blockMapFromMatrix() sees the blocks that are not 0, in i32 and u32",
  ignore,
  async fn() {
    const expected = Uint8Array.from(GIVEN, (seen) => 2 * seen);
    using signed = i32([2, 3, 5, 6], ...GIVEN.map((seen) => -7 * seen));
    using unsigned = gpu().tensor(Uint32Array.from(GIVEN), [2, 3, 5, 6]);
    using one = blockMapFromMatrix(signed, BLOCKED);
    using other = blockMapFromMatrix(unsigned, BLOCKED);
    using masked = blockMapFromMatrix(unsigned, { ...BLOCKED, mask: "j <= i" });

    assertEquals(await one.matrix(), expected);
    assertEquals(await other.matrix(), expected);
    assertEquals(await masked.matrix(), expected.map((state) => state / 2));
  },
});

Deno.test({
  name: "blockMapFromIndices() takes numbers in any order, twice, negative and too large",
  ignore,
  async fn() {
    const sizes = { qLen: 40, kvLen: 130, queryBlock: 16, keyBlock: 24 };
    using indices = i32([1, 1, 3, 4], ...[5, 0, 5, -1], ...[-1, -9, -1, -1], ...[6, 2, 1 << 30, 3]);
    using map = blockMapFromIndices(indices, sizes);
    using masked = blockMapFromIndices(indices, { ...sizes, mask: "j <= i" });
    const rows = [[2, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0], [0, 0, 2, 2, 0, 0]].flat();

    assertEquals(await map.matrix(), Uint8Array.from(rows));
    assertEquals(await masked.matrix(), Uint8Array.from(rows, (state) => state / 2));
    assertEquals(await map.density(), 4 / 18);
  },
});

Deno.test({
  name: "blockMapFromIndices() sees nothing in rows without a column",
  ignore,
  async fn() {
    using indices = gpu().empty([1, 1, 3, 0], "i32");
    using map = blockMapFromIndices(indices, { qLen: 40, kvLen: 40, queryBlock: 16 });

    assertEquals(await map.matrix(), new Uint8Array(3));
  },
});

Deno.test({
  name: "compileBlockMap() makes maps of no queries, no keys and no batch",
  ignore,
  async fn() {
    for (const sizes of [{ qLen: 0 }, { kvLen: 0 }, { batch: 0 }]) {
      using map = compileBlockMap(gpu(), "j <= i", { qLen: 40, kvLen: 40, ...sizes });

      assertEquals(await map.matrix(), new Uint8Array());
      assertEquals(await map.density(), 0);
    }
  },
});

Deno.test({
  name: "BlockMap frees its lists once, and tells that it did",
  ignore,
  async fn() {
    const map = compileBlockMap(gpu(), "j <= i", { qLen: 100, kvLen: 100 });

    assertEquals(map.disposed, false);
    map.dispose();
    map.dispose();
    assertEquals(map.disposed, true);
    await gpu().submit();

    const { bytes, tensors } = gpu().memory();
    assertEquals([bytes, tensors], [0, 0]);
  },
});

/** Tests that a map is refused with exactly this, before any GPU work. */
function testRefusal(
  when: string,
  make: () => unknown,
  kind: typeof TypeError | typeof RangeError,
  message: string,
): void {
  Deno.test({
    name: `block maps throw when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        assertEquals(assertThrows(make, kind).message, `Cannot make a block map ${message}`);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const sized = (options: unknown) => () =>
  compileBlockMap(gpu(), "j <= i", options as BlockMapOptions);
const FOUR = { qLen: 4, kvLen: 4 };

for (
  const [name, size, least] of [
    ["qLen", -1, 0],
    ["kvLen", 1.5, 0],
    ["batch", -1, 0],
    ["heads", 0, 1],
    ["queryBlock", 0, 1],
    ["keyBlock", NaN, 1],
    ["kvLen", 2 ** 31, 0],
    ["qLen", undefined, 0],
  ] as const
) {
  testRefusal(
    `${name} is ${size}`,
    sized({ ...FOUR, [name]: size }),
    RangeError,
    `as ${name} must be an integer >= ${least}: ${name} is ${size}`,
  );
}
testRefusal(
  "an option is unknown",
  sized({ ...FOUR, keyBlok: 64 }),
  TypeError,
  'as options must be known: "keyBlok" is not, the nearest is "keyBlock"',
);
testRefusal(
  "a mask stands in the options of a compiled map",
  sized({ ...FOUR, mask: "j <= i" }),
  TypeError,
  'as options must be known: "mask" is not, the nearest is "qLen"',
);
testRefusal(
  "options are missing",
  sized(undefined),
  TypeError,
  "as options must be an object: options is undefined",
);
testRefusal(
  "there is no device",
  () => compileBlockMap({} as Gpu, "j <= i", FOUR),
  TypeError,
  "as gpu must be a Gpu: gpu is Object",
);
testRefusal(
  "there is no mask",
  () => compileBlockMap(gpu(), undefined as never, FOUR),
  TypeError,
  "as mask must be WGSL text: mask is undefined",
);
testRefusal(
  "masks are none",
  () => compileBlockMap(gpu(), [], FOUR),
  TypeError,
  "as mask must be WGSL text: mask is Array",
);
testRefusal(
  "a mask is a number",
  () => compileBlockMap(gpu(), 3 as never, FOUR),
  TypeError,
  "as mask must be WGSL text, { code, inputs } or an array of them: it is 3",
);
testRefusal(
  "an input was disposed",
  () => {
    const table = i32([1], 0);
    table.dispose();
    return compileBlockMap(gpu(), "table(h) == 0", { ...FOUR, inputs: { table } });
  },
  TypeError,
  "as inputs.table must be live: inputs.table [1] was disposed",
);
testRefusal(
  "there are too many blocks on an axis",
  sized({ qLen: 65536, kvLen: 4, queryBlock: 1 }),
  RangeError,
  "as it must have at most 33554432 blocks, 65535 on an axis: it has 65536, 65536 x 1; take larger blocks",
);
testRefusal(
  "there are more blocks than a binding holds",
  sized({ qLen: 65535, kvLen: 65535, queryBlock: 8, keyBlock: 8 }),
  RangeError,
  "as it must have at most 33554432 blocks, 65535 on an axis: it has 67108864, 8192 x 8192; take larger blocks",
);
testRefusal(
  "a matrix has other blocks",
  () => blockMapFromMatrix(i32([1, 1, 1, 2], 1, 1), FOUR),
  TypeError,
  "as matrix must be [1,1,1,1]: matrix is [1,1,1,2]",
);
testRefusal(
  "a matrix has other heads",
  () => blockMapFromMatrix(i32([1, 2, 1, 1], 1, 1), { ...FOUR, heads: 3 }),
  TypeError,
  "as matrix must be [1,3,1,1]: matrix is [1,2,1,1]",
);
testRefusal(
  "a matrix has two axes",
  () => blockMapFromMatrix(i32([1, 1], 1), FOUR),
  TypeError,
  "as matrix must have 4 axes [B|1, Hq|1, blocks of queries, blocks of keys]: matrix is [1,1]",
);
testRefusal(
  "a matrix is f32",
  () => blockMapFromMatrix(gpu().tensor(new Float32Array(1), [1, 1, 1, 1]), FOUR),
  TypeError,
  "as matrix must be i32 or u32: matrix is f32",
);
testRefusal(
  "a matrix is an array",
  () => blockMapFromMatrix([[1]] as never, FOUR),
  TypeError,
  "as matrix must be a Tensor: matrix is Array",
);
testRefusal(
  "indices have other blocks of queries",
  () => blockMapFromIndices(i32([1, 1, 2, 1], 0, 0), FOUR),
  TypeError,
  "as indices must be [1,1,1,any]: indices is [1,1,2,1]",
);
testRefusal(
  "indices are u32",
  () => blockMapFromIndices(gpu().tensor(new Uint32Array(1), [1, 1, 1, 1]), FOUR),
  TypeError,
  "as indices must be i32: indices is u32",
);

Deno.test({
  name: "block maps throw when their blocks have more pairs than one loop of the device walks",
  ignore,
  async fn() {
    using looped = await requestGpu({ limits: { maxLoopIterations: 1000 } });
    const sizes = { qLen: 4, kvLen: 4, queryBlock: 240, keyBlock: 241 };

    const { message } = assertThrows(() => compileBlockMap(looped, "j <= i", sizes), RangeError);

    assertEquals(
      message,
      "Cannot make a block map as queryBlock x keyBlock must be at most 57600: current values are 240 x 241",
    );
  },
});

Deno.test({
  name: "block maps throw when inputs or masks do not fit the device",
  ignore,
  async fn() {
    using other = await requestGpu({ limits: { maxStorageBufferBindingSize: 1 << 16 } });
    gpu().scope(() => {
      const table = i32([1], 0);
      const large = gpu().tensor(new Int32Array(1 << 15), [1 << 15]);
      const far = () => compileBlockMap(other, "table(h) == 0", { ...FOUR, inputs: { table } });
      const matrix = other.tensor(new Int32Array(1), [1, 1, 1, 1]);
      const own = other.tensor(new Int32Array(1 << 15), [1 << 15]);
      const wide = () => compileBlockMap(other, "own(h) == 0", { ...FOUR, inputs: { own } });
      const apart = () =>
        blockMapFromMatrix(matrix, { ...FOUR, mask: "large(h) == 0", inputs: { large } });
      const rule = "Cannot make a block map as";

      assertEquals(
        [far, apart].map((make) => assertThrows(make, TypeError).message),
        Array(2).fill(
          `${rule} tensors must share a device: inputs live on another device than the map`,
        ),
      );
      assertEquals(
        assertThrows(wide, RangeError).message,
        `${rule} inputs.own must fit one binding, 65536 bytes: it takes 131072`,
      );
      [matrix, own].forEach((tensor) => tensor.dispose());
    });
    const names = Array.from({ length: 64 }, (_, n) => `t${n}`);
    const most = gpu().device.limits.maxStorageBuffersPerShaderStage;
    gpu().scope(() => {
      const inputs = Object.fromEntries(
        names.slice(0, most).map((name) => [name, i32([1], 0)]),
      );
      const mask = Object.keys(inputs).map((name) => `${name}(h) == 0`);
      const { message } = assertThrows(
        () => compileBlockMap(gpu(), mask, { ...FOUR, inputs }),
        RangeError,
      );
      assertEquals(
        message,
        `Cannot make a block map as hooks must read at most ${
          most - 1
        } tensors beside the others here: they read ${most}`,
      );
    });
  },
});

Deno.test({
  name: "compileBlockMap() points into a mask that does not compile",
  ignore,
  fn() {
    const error = assertThrows(() => compileBlockMap(gpu(), "j <=\n  ii", FOUR), HookError);

    assertEquals([error.line, error.column, error.source], [2, 3, "j <=\n  ii"]);
  },
});
