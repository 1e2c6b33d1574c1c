import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { attention, compileBlockMap, requestGpu } from "../../mod.ts";
import { attention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

function theGpu() {
  assert(shared !== null);
  return shared;
}

const [BATCH, LENGTH, HEADS, DIM] = [2, 130, 4, 16];
const SHAPE = [BATCH, LENGTH, HEADS, DIM];

/** Standard normal, of a shape. */
function normal(shape: readonly number[], seed: number): Float32Array<ArrayBuffer> {
  const random = new Random(seed);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
}

/** Gates that leave whole tiles of odd heads out, and single rows elsewhere. */
function someGates(): Float32Array<ArrayBuffer> {
  const random = new Random(7);
  return Float32Array.from({ length: BATCH * LENGTH * HEADS }, (_, row) => {
    const [t, h] = [Math.floor(row / HEADS) % LENGTH, row % HEADS];
    return (t < 70 && h % 2 === 1) || random.next() < 0.4 ? 0 : random.normal();
  });
}

for (const dtype of ["f32", "f16"] as const) {
  for (const schedule of ["subgroup", "workgroup", "split", "naive"]) {
    Deno.test({
      name:
        `attention() multiplies by gates, and skips what they close: ${schedule}, gates ${dtype}`,
      ignore,
      async fn() {
        const gpu = theGpu();
        const data = [1, 2, 3].map((seed) => normal(SHAPE, seed));
        const gains = someGates();
        const stored = dtype === "f16" ? new Float16Array(gains) : gains;
        using gates = gpu.tensor(stored, [BATCH, LENGTH, HEADS]);
        const [q, k, v] = data.map((x) => gpu.tensor(x, SHAPE));
        const { out, lse } = attention(q, k, v, { gates, causal: true, lse: true, schedule });
        const host = data.map((x) => ({ data: x, shape: SHAPE }));
        const expected = reference(host[0], host[1], host[2], { causal: true });
        assertClose(
          "out",
          await out.read(),
          expected.out.data.map((o, i) => o * stored[Math.floor(i / DIM)]),
          { ratio: 2e-5 },
        );
        const rows = await lse?.read();
        assert(rows);
        stored.forEach((gain, row) => {
          if (gain === 0) assertEquals(rows[row], -Infinity);
          else assert(Math.abs(rows[row] - expected.lse.data[row]) < 1e-4);
        });
      },
    });
  }
}

for (const [weight, nothing] of [["relu", 0], ["stickBreaking", 0]] as const) {
  Deno.test({
    name: `attention() returns the aux of a row that sees nothing where a gate is 0: ${weight}`,
    ignore,
    async fn() {
      const gpu = theGpu();
      const [q, k, v] = [1, 2, 3].map((seed) => gpu.tensor(normal(SHAPE, seed), SHAPE));
      const gains = someGates();
      const gates = gpu.tensor(gains, [BATCH, LENGTH, HEADS]);
      const { aux } = attention(q, k, v, { gates, weight, aux: true });
      const rows = await aux?.read();
      assert(rows);
      const closed = rows.filter((_, row) => gains[row] === 0);
      assert(closed.length > 0 && closed.every((x) => x === nothing));
      assert(rows.some((x, row) => gains[row] !== 0 && x !== nothing));
    },
  });
}

Deno.test({
  name: "attention() throws when gates do not fit",
  ignore,
  fn() {
    const gpu = theGpu();
    gpu.scope(() => {
      const x = gpu.tensor(normal(SHAPE, 1), SHAPE);
      const gates = gpu.tensor(new Float32Array(LENGTH * HEADS), [1, LENGTH, HEADS]);
      const error = assertThrows(() => attention(x, x, x, { gates }), TypeError);
      assertEquals(
        error.message,
        "Cannot compute attention as gates must be [2,130,4]: gates is [1,130,4]",
      );
    });
  },
});

Deno.test({
  name: "attention() throws when the mask of a block map reads heads or entries that it has not",
  ignore,
  fn() {
    const gpu = theGpu();
    gpu.scope(() => {
      const x = gpu.tensor(normal(SHAPE, 1), SHAPE);
      const sizes = { qLen: LENGTH, kvLen: LENGTH };
      const calls = [
        ["j % 4 == h", { heads: 2 }, "blockMap must be of Hq = 4 as its mask reads h: it is of 2"],
        ["j % 2 == b", {}, "blockMap must be of B = 2 as its mask reads b: it is of 1"],
      ] as const;
      for (const [mask, more, message] of calls) {
        const blockMap = compileBlockMap(gpu, mask, { ...sizes, ...more });
        const error = assertThrows(() => attention(x, x, x, { blockMap }), TypeError);
        assertEquals(error.message, `Cannot compute attention as ${message}`);
        blockMap.dispose();
      }
    });
  },
});
