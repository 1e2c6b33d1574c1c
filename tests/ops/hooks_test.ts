import { assert, assertEquals, assertThrows } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  alibi,
  attention,
  type AttentionHook,
  causal,
  compileBlockMap,
  dilatedWindow,
  documentMask,
  either,
  everyNthBlock,
  type Gpu,
  headWindow,
  prefixLm,
  relativeBias,
  requestGpu,
  sinkWindow,
  slidingWindow,
  softcap,
  stridedHeads,
  temperature,
  type Tensor,
  verticalSlash,
} from "../../mod.ts";
import {
  attention as reference,
  type MaskHook,
  type ScoreHook,
  type ScorePlace,
} from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

const [BATCH, QUERIES, KEYS, HEADS, DIM] = [2, 75, 90, 2, 8];
/** What aligns the last query with the last key. */
const OFFSET = KEYS - QUERIES;
const BLOCK = 32;

const random = new Random(11);
const normal = (length: number): HostTensor =>
  hostTensor("f32", [BATCH, length, HEADS, DIM], () => random.normal());
const [Q, K, V] = [normal(QUERIES), normal(KEYS), normal(KEYS)];

const i32 = (shape: number[], ...data: number[]): Tensor =>
  theGpu().tensor(Int32Array.from(data), shape);
const f32 = (shape: number[], ...data: number[]): Tensor =>
  theGpu().tensor(Float32Array.from(data), shape);

/** Records attention on the tensors of these tests. */
function record(options: Parameters<typeof attention>[3]): Tensor {
  const [q, k, v] = [Q, K, V].map(({ data, shape }) =>
    theGpu().tensor(data, shape) as Tensor<"f32">
  );
  return attention(q, k, v, options).out;
}

async function taken(tensor: Tensor): Promise<ArrayLike<number>> {
  const data = await tensor.read();
  tensor.dispose();
  return data;
}

/** Tests that a score agrees with float64. */
function testScore(name: string, make: () => AttentionHook, score: ScoreHook): void {
  Deno.test({
    name: `${name} matches the reference`,
    ignore,
    async fn() {
      const out = await taken(theGpu().scope(() => record({ score: make() })));

      assertClose("out", out, reference(Q, K, V, { score }).out.data, { ratio: 1e-5 });
      assertEquals(theGpu().memory().tensors, 0);
    },
  });
}

/** Tests that a mask agrees with float64, as it is and as a map, and that the map is what it should be. */
function testMask(
  name: string,
  make: () => AttentionHook | readonly AttentionHook[],
  mask: MaskHook,
): void {
  Deno.test({
    name: `${name} matches the reference, and so does a map of it`,
    ignore,
    async fn() {
      const sizes = {
        ...{ batch: BATCH, heads: HEADS, qLen: QUERIES, kvLen: KEYS },
        ...{ queryBlock: BLOCK, keyBlock: BLOCK },
      };
      const { masked, mapped, map } = theGpu().scope(() => {
        const hook = make();
        const map = compileBlockMap(theGpu(), hook, sizes);
        return { masked: record({ mask: hook }), mapped: record({ blockMap: map }), map };
      });
      const matrix = await map.matrix();
      map.dispose();

      const expected = reference(Q, K, V, { mask }).out.data;
      assertClose("masked", await taken(masked), expected, { ratio: 1e-5 });
      assertClose("mapped", await taken(mapped), expected, { ratio: 1e-5 });
      assertEquals(matrix, statesOf(mask));
      assertEquals(theGpu().memory().tensors, 0);
    },
  });
}

/** The states of all blocks, pair by pair: 0 where a mask hides all, 1 some, 2 none. */
function statesOf(mask: MaskHook): Uint8Array {
  const states: number[] = [];
  for (let b = 0; b < BATCH; b++) {
    for (let h = 0; h < HEADS; h++) {
      for (let i0 = 0; i0 < QUERIES; i0 += BLOCK) {
        for (let j0 = 0; j0 < KEYS; j0 += BLOCK) {
          const seen = pairsOf(i0, j0).map(([i, j]) => mask({ b, h, i, j }));
          states.push(seen.every(Boolean) ? 2 : seen.some(Boolean) ? 1 : 0);
        }
      }
    }
  }
  return Uint8Array.from(states);
}

function pairsOf(i0: number, j0: number): [number, number][] {
  const pairs: [number, number][] = [];
  for (let i = i0; i < Math.min(i0 + BLOCK, QUERIES); i++) {
    for (let j = j0; j < Math.min(j0 + BLOCK, KEYS); j++) pairs.push([i, j]);
  }
  return pairs;
}

const aligned = { offset: OFFSET };
const distance = ({ i, j }: ScorePlace): number => i + OFFSET - j;
const SLOPES = [0.5, 0.125];
const CLIPPED = [[1, -2, 3, 0.5, 0.25, -1, 2], [0, 1, 2, 3, 4, 5, 6]];
const ROWS = Array.from({ length: BATCH * QUERIES * HEADS }, (_, n) => 0.5 + (n % 7) / 4);

testScore(
  "alibi() with the slopes of the paper",
  () => alibi({ heads: HEADS }),
  (s, { h, i, j }) => s - 2 ** (-8 * (h + 1) / HEADS) * Math.abs(i - j),
);
testScore(
  "alibi() with slopes, aligned",
  () => alibi(f32([HEADS], ...SLOPES), aligned),
  (s, at) => s - SLOPES[at.h] * Math.abs(distance(at)),
);
testScore(
  "alibi() of earlier keys alone",
  () => alibi(f32([HEADS], ...SLOPES), { distance: "past" }),
  (s, { h, i, j }) => s - SLOPES[h] * Math.max(i - j, 0),
);
testScore("softcap()", () => softcap(1.5), (s) => 1.5 * Math.tanh(s / 1.5));
testScore("temperature() of a number", () => temperature(0.7), (s) => s / 0.7);
testScore(
  "temperature() of each head",
  () => temperature(f32([HEADS], 0.5, 2)),
  (s, { h }) => s / [0.5, 2][h],
);
testScore(
  "temperature() of each row",
  () => temperature(f32([BATCH, QUERIES, HEADS], ...ROWS)),
  (s, { b, h, i }) => s / ROWS[(b * QUERIES + i) * HEADS + h],
);
testScore(
  "temperature() of each token",
  () => temperature(f32([QUERIES, HEADS], ...ROWS.slice(0, QUERIES * HEADS))),
  (s, { h, i }) => s / ROWS[i * HEADS + h],
);
testScore(
  "relativeBias() clips distances",
  () => relativeBias(f32([HEADS, 7], ...CLIPPED.flat()), aligned),
  (s, at) => s + CLIPPED[at.h][Math.min(Math.max(-distance(at), -3), 3) + 3],
);

const causalAt = (at: ScorePlace): boolean => distance(at) >= 0;
const within = (at: ScorePlace, left: number, right: number): boolean =>
  distance(at) <= left && -distance(at) <= right;
const DOCUMENTS = Array.from(
  { length: BATCH * QUERIES },
  (_, n) => Math.floor((n % 75) ** 2 / 900),
);
const KEY_DOCUMENTS = Array.from({ length: KEYS }, (_, j) => Math.floor(j / 20) % 4);
const VERTICAL = Array.from({ length: HEADS * KEYS }, (_, n) => n % 41 === 3 ? 1 : 0);
const DIAGONALS = QUERIES + KEYS - 1;
const SLASH = Array.from(
  { length: HEADS * DIAGONALS },
  (_, n) => n % 37 === 5 || n % DIAGONALS < 20 ? 1 : 0,
);

testMask("causal()", () => causal(), ({ i, j }) => j <= i);
testMask("causal() with an offset", () => causal(aligned), causalAt);
testMask(
  "causal() with queries before all keys",
  () => causal({ offset: -40 }),
  ({ i, j }) => j <= i - 40,
);
testMask("slidingWindow()", () => slidingWindow(20, 3, aligned), (at) => within(at, 20, 3));
testMask(
  "slidingWindow() with an open side",
  () => slidingWindow(Infinity, 3),
  ({ i, j }) => j - i <= 3,
);
testMask("prefixLm()", () => prefixLm(40, aligned), (at) => causalAt(at) || at.j < 40);
testMask(
  "prefixLm() of each batch entry",
  () => prefixLm(i32([BATCH], 0, 64)),
  ({ b, i, j }) => j <= i || j < [0, 64][b],
);
testMask(
  "documentMask() of each batch entry",
  () => documentMask(i32([BATCH, QUERIES], ...DOCUMENTS), i32([KEYS], ...KEY_DOCUMENTS)),
  ({ b, i, j }) => DOCUMENTS[b * QUERIES + i] === KEY_DOCUMENTS[j],
);
testMask(
  "documentMask() beside causal()",
  () => [causal(), documentMask(i32([KEYS], ...KEY_DOCUMENTS))],
  ({ i, j }) => j <= i && KEY_DOCUMENTS[i] === KEY_DOCUMENTS[j],
);
testMask(
  "headWindow()",
  () => headWindow(i32([HEADS], 5, 50), aligned),
  (at) => within(at, [5, 50][at.h], 0),
);
testMask(
  "headWindow() on both sides",
  () => headWindow(i32([HEADS, 2], 5, 6, 50, 2)),
  ({ h, i, j }) => i - j <= [5, 50][h] && j - i <= [6, 2][h],
);
testMask(
  "sinkWindow()",
  () => sinkWindow({ sinks: 3, window: 12, ...aligned }),
  (at) => causalAt(at) && (at.j < 3 || distance(at) <= 12),
);
testMask(
  "dilatedWindow()",
  () => dilatedWindow({ left: 4, right: 2, dilation: 3, ...aligned }),
  (at) => distance(at) % 3 === 0 && within(at, 12, 6),
);
testMask(
  "dilatedWindow() with a dilation for each head",
  () => dilatedWindow({ left: Infinity, dilation: i32([HEADS], 1, 5) }),
  ({ h, i, j }) => j <= i && (i - j) % [1, 5][h] === 0,
);
testMask(
  "stridedHeads()",
  () => stridedHeads({ strides: i32([HEADS], 7, 50), window: 4, ...aligned }),
  (at) => causalAt(at) && (distance(at) <= 4 || distance(at) % [7, 50][at.h] === 0),
);
testMask(
  "stridedHeads() with offsets",
  () => stridedHeads({ strides: i32([HEADS], 4, 64), offsets: i32([HEADS], 1, 40) }),
  ({ h, i, j }) => j <= i && (i === j || (i - j) % [4, 64][h] === [1, 40][h]),
);
testMask(
  "verticalSlash()",
  () => verticalSlash(i32([HEADS, KEYS], ...VERTICAL), i32([HEADS, DIAGONALS], ...SLASH)),
  ({ h, i, j }) => VERTICAL[h * KEYS + j] + SLASH[h * DIAGONALS + i - j + KEYS - 1] > 0,
);
testMask(
  "everyNthBlock()",
  () => everyNthBlock({ block: 8, n: 5, sinks: 2, window: 1, ...aligned }),
  (at) => {
    const [own, key] = [Math.floor((at.i + OFFSET) / 8), Math.floor(at.j / 8)];
    return causalAt(at) && (key < 2 || own - key <= 1 || key % 5 === 0);
  },
);
testMask(
  "either()",
  () => either(slidingWindow(9, 0), "j < 4 // the first", headWindow(i32([HEADS], 0, 33))),
  ({ h, i, j }) => j < 4 || (j <= i && i - j <= [9, 33][h]),
);

Deno.test({
  name: "alibi() compiles nothing anew for another offset",
  ignore,
  fn() {
    assertEquals(alibi({ heads: 4 }, { offset: 3 }).code, alibi({ heads: 4 }, { offset: 9 }).code);
  },
});

/** Tests that a hook is refused with exactly this, before any GPU work. */
function testRefusal(
  when: string,
  make: () => unknown,
  kind: typeof TypeError | typeof RangeError,
  message: string,
): void {
  Deno.test({
    name: `hooks throw when ${when}`,
    ignore,
    fn() {
      theGpu().scope(() =>
        assertEquals(assertThrows(make, kind).message, `Cannot make ${message}`)
      );
    },
  });
}

testRefusal(
  "an offset is no integer",
  () => causal({ offset: 0.5 }),
  RangeError,
  "the mask causal as offset must be an integer from -2^24 to 2^24: offset is 0.5",
);
testRefusal(
  "an option is unknown",
  () => sinkWindow({ sinks: 1, window: 2, ofset: 1 } as never),
  TypeError,
  'the mask sinkWindow as options must be known: "ofset" is not, the nearest is "offset"',
);
testRefusal(
  "a window is negative",
  () => slidingWindow(-1, 0),
  RangeError,
  "the mask slidingWindow as left must be an integer from 0 to 2^30: left is -1",
);
testRefusal(
  "a prefix is not exact in f32",
  () => prefixLm(2 ** 25),
  RangeError,
  "the mask prefixLm as prefix must be an integer from 0 to 2^24: prefix is 33554432",
);
testRefusal(
  "a size is missing",
  () => everyNthBlock({ block: 8 } as never),
  RangeError,
  "the mask everyNthBlock as n must be an integer from 1 to 2^30: n is undefined",
);
testRefusal(
  "a table holds floats",
  () => headWindow(f32([2], 1, 2)),
  TypeError,
  "the mask headWindow as windows must be i32: windows is f32",
);
testRefusal(
  "a table has other axes",
  () => documentMask(i32([1, 1, 2], 1, 2)),
  TypeError,
  "the mask documentMask as documents must be [T] or [B, T]: documents is [1,1,2]",
);
testRefusal(
  "windows have three sides",
  () => headWindow(i32([1, 3], 1, 2, 3)),
  TypeError,
  "the mask headWindow as windows must be [Hq] or [Hq, 2]: windows is [1,3]",
);
testRefusal(
  "a table is no tensor",
  () => stridedHeads({ strides: [2, 3] } as never),
  TypeError,
  "the mask stridedHeads as strides must be a Tensor: strides is Array",
);
testRefusal(
  "tables have other heads",
  () => stridedHeads({ strides: i32([2], 1, 2), offsets: i32([1], 0) }),
  TypeError,
  "the mask stridedHeads as strides and offsets must share heads: current values are strides=2, offsets=1",
);
testRefusal(
  "slopes are a number",
  () => alibi(8 as never),
  RangeError,
  "the score alibi as heads must be an integer from 1 to 2^30: heads is undefined",
);
testRefusal(
  "a distance is unknown",
  () => alibi({ heads: 2 }, { distance: "future" as never }),
  RangeError,
  "the score alibi as distance must be one of absolute, past: distance is future",
);
testRefusal(
  "a cap is 0",
  () => softcap(0),
  RangeError,
  "the score softcap as cap must be a finite f32 > 0: cap is 0",
);
testRefusal(
  "a table has no middle",
  () => relativeBias(f32([1, 4], 1, 2, 3, 4)),
  TypeError,
  "the score relativeBias as table must have an odd number of columns, 2R + 1: table is [1,4]",
);
testRefusal(
  "either() has no mask",
  () => either(),
  TypeError,
  "the mask either as there must be a mask: there is none",
);
testRefusal(
  "either() has a mask with let",
  () => either("j < 4", "let d = i - j; d < 3"),
  TypeError,
  'the mask either as masks must be single expressions, without let: one is "let d = i - j; d < 3"',
);
testRefusal(
  "either() has two of a name",
  () => either(causal({ offset: 1 }), causal({ offset: 2 })),
  TypeError,
  "the mask either as an input must be one thing in all masks: queryOffset is two",
);
testRefusal(
  "either() has a mask that is none",
  () => either("j < 4", 3 as never),
  TypeError,
  "the mask either as masks must be WGSL text or { code, inputs }: one is 3",
);
