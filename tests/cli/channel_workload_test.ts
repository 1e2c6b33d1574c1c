import { assert, assertEquals } from "@std/assert";
import { channelInputs, spotCheckChannels } from "../../cli/channel_workload.ts";
import { CONV, type ConvProfile, convWorkload } from "../../cli/conv_workload.ts";
import { HGRN, hgrnWorkload } from "../../cli/hgrn_workload.ts";
import {
  SELECTIVE,
  type SelectiveProfile,
  selectiveWorkload,
} from "../../cli/selective_scan_workload.ts";
import { requestGpu } from "../../mod.ts";
import { causalConv1d, hgrn, selectiveScan } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";

const SIZES = { batch: 2, length: 10, channels: 6, dtype: "f32", seed: 1 } as const;
const SELECTIVE_CASE: SelectiveProfile = { ...SIZES, states: 3 };
const LAYER: SelectiveProfile = { ...SELECTIVE_CASE, layer: true, state: true };
const CONV_CASE: ConvProfile = { ...SIZES, width: 4, activation: "silu", state: true };

Deno.test("spotCheckChannels() agrees with right outputs", () => {
  const layer = channelInputs(SELECTIVE, LAYER);
  const { u, delta, a, b, c, ...options } = layer;
  const scanned = selectiveScan(u, delta, a, b, c, { ...options, deltaSoftplus: true }).out.data;
  const conv = channelInputs(CONV, CONV_CASE);
  const filtered = causalConv1d(conv.x, conv.weight, { state: conv.state, activation: "silu" });

  assert(spotCheckChannels(SELECTIVE, LAYER, layer, new Float32Array(scanned)) < 1e-6);
  assert(spotCheckChannels(CONV, CONV_CASE, conv, new Float32Array(filtered.out.data)) < 1e-6);
});

Deno.test("spotCheckChannels() finds one wrong channel of the last token", () => {
  const inputs = channelInputs(HGRN, SIZES);
  const out = new Float32Array(hgrn(inputs.x, inputs.g).out.data);
  assert(spotCheckChannels(HGRN, SIZES, inputs, out) < 1e-6);
  out[out.length - 1] += 0.1;
  assert(spotCheckChannels(HGRN, SIZES, inputs, out) > 1e-3);
});

Deno.test("spotCheckChannels() looks at the first tokens of each row of a large problem", () => {
  const costly = { ...HGRN, flopsOf: () => 2e7 }; // of 10 tokens in two rows an oracle affords 5
  const inputs = channelInputs(HGRN, SIZES);
  const right = new Float32Array(hgrn(inputs.x, inputs.g).out.data);
  const ratioWithWrong = (token: number): number => {
    const out = right.slice();
    out[token * SIZES.channels] += 1;
    return spotCheckChannels(costly, SIZES, inputs, out);
  };

  assert(ratioWithWrong(10 + 4) > 1e-3); // of the second row
  assert(ratioWithWrong(10 + 5) < 1e-6);
});

Deno.test("selectiveWorkload() counts seven operations for a state and those of a channel", () => {
  assertEquals(selectiveWorkload(SELECTIVE_CASE).flops, 20 * 6 * (7 * 3 + 1));
  assertEquals(selectiveWorkload(LAYER).flops, 20 * 6 * (7 * 3 + 7));
});

Deno.test("hgrnWorkload() and convWorkload() count the operations of a channel", () => {
  assertEquals(hgrnWorkload(SIZES).flops, 3 * 20 * 6);
  assertEquals(convWorkload({ ...CONV_CASE, activation: "none" }).flops, 2 * 4 * 20 * 6);
  assertEquals(convWorkload(CONV_CASE).flops, 10 * 20 * 6);
});

Deno.test("channelWorkload() counts inputs and outputs once, states twice", () => {
  const rows = 3 * 6 + 2 * 3; // u, delta and out, b and c
  assertEquals(selectiveWorkload(SELECTIVE_CASE).bytes, 4 * (20 * rows + 6 * 3));
  // z besides, d and deltaBias; two states of each row
  const layer = 20 * (rows + 6) + 6 * 3 + 2 * 6 + 2 * 2 * 6 * 3;
  assertEquals(selectiveWorkload(LAYER).bytes, 4 * layer);
  assertEquals(hgrnWorkload({ ...SIZES, dtype: "f16" }).bytes, 2 * 20 * 3 * 6);
  // states of f16 stay f32
  const conv = convWorkload({ ...CONV_CASE, dtype: "f16" });
  assertEquals(conv.bytes, 2 * (20 * 2 * 6 + 6 * 4) + 4 * 2 * 2 * 6 * 3);
});

Deno.test("channelWorkload() names what tells a case from others", () => {
  assertEquals(
    selectiveWorkload({ ...LAYER, mode: "chunk", chunkSize: 16, schedule: "naive" }).name,
    "B2 T10 C6 N3 layer chunk 16 naive f32 state",
  );
  assertEquals(hgrnWorkload(SIZES).name, "B2 T10 C6 f32");
  assertEquals(convWorkload(CONV_CASE).name, "B2 T10 C6 W4 silu f32 state");
});

Deno.test("channelWorkload() has the rivals of its operator", () => {
  const rivals = [selectiveWorkload(SELECTIVE_CASE), hgrnWorkload(SIZES), convWorkload(CONV_CASE)]
    .map(({ rivals }) => Object.entries(rivals).map(([name, rival]) => [name, rival().name]));
  assertEquals(rivals, [
    [["naive", "B2 T10 C6 N3 naive f32"]],
    [["loop", "B2 T10 C6 loop f32"]],
    [],
  ]);
});

Deno.test({
  name: "channelWorkload() computes what agrees with float64, by a schedule that it names",
  ignore: adapter === null,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const scans = [SELECTIVE_CASE, LAYER, { ...LAYER, length: 1 }].map(selectiveWorkload);
    const hgrns = [SIZES, { ...SIZES, state: true, mode: "chunk" } as const].map(hgrnWorkload);
    const rivals = scans.map(({ rivals }) => rivals.naive());
    for (const workload of [...scans, ...rivals, ...hgrns, convWorkload(CONV_CASE)]) {
      using loaded = workload.load(gpu);
      const [out, ...states] = loaded.compute();
      const ratio = loaded.errorOf(await out.read() as ArrayLike<number>);
      [out, ...states].forEach((tensor) => tensor.dispose());

      assert(ratio <= workload.tolerance, `${workload.name}: ${ratio}`);
      assertEquals(states.length, workload.name.endsWith("state") ? 1 : 0);
      assert(workload.schedulesOn(gpu).includes(workload.scheduleOn(gpu)));
    }
    assertEquals(gpu.memory().tensors, 0);
  },
});
