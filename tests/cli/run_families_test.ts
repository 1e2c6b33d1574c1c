import { assertEquals } from "@std/assert";
import { main } from "../../cli.ts";
import { hostTensor } from "../../cli/host_tensor.ts";
import { decodeNpy, encodeNpy } from "../../cli/npy.ts";
import { Random } from "../../cli/random.ts";
import { flattened } from "../../cli/records.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const random = new Random(5);
const normal = (...shape: number[]) => hostTensor("f32", shape, () => random.normal());
const gates = (...shape: number[]) => hostTensor("f32", shape, () => -random.next());
const rows = () => normal(1, 9, 2, 8);
const [q, k, v, g, w, f] = [rows(), rows(), rows(), gates(1, 9, 2), gates(1, 9, 2, 8), rows()];
const bounds = hostTensor("f32", [2, 8], () => random.next() / 2);
const [u, a, d] = [normal(2, 8), gates(2), normal(2)];
const hedgehogWeights = hostTensor("f32", [2, 2, 6, 9], () => random.normal() / 3);
const [x, y] = [normal(1, 9, 2, 3), normal(1, 9, 2, 3)];
const initialState = { s: normal(1, 2, 10, 8), z: hostTensor("f32", [1, 2, 10], () => 1) };
const lightNetState = { s: normal(1, 2, 8, 8), z: normal(1, 2, 8) };
const [i, m] = [normal(1, 9, 2), normal(1, 2)];
const mlstmState = { c: lightNetState.s, n: lightNetState.z, m };
const [weight, bias, tail] = [normal(3, 4), normal(3), normal(2, 3, 3)];
const [sequence, normalState] = [normal(2, 9, 3), normal(1, 2, 8)];
const silu = { activation: "silu" } as const;
const options = { finalState: true };

/** What each operator reads, the other options, and what it must write. */
const OPERATORS = {
  linearAttention: [
    { q, k, v },
    { featureMap: "elu1" },
    () => reference.linearAttention(q, k, v, { featureMap: "elu1", ...options }),
  ],
  "linearAttention with weights": [
    { q, k, v, hedgehogWeights },
    { featureMap: "hedgehog" },
    () =>
      reference.linearAttention(q, k, v, { featureMap: "hedgehog", hedgehogWeights, ...options }),
  ],
  based: [
    { q: x, k: y, v, "initialState.s": initialState.s, "initialState.z": initialState.z },
    { scale: 0.5 },
    () => reference.based(x, y, v, { scale: 0.5, initialState, ...options }),
  ],
  retention: [{ q, k, v }, {}, () => reference.retention(q, k, v, options)],
  lightningAttention: [
    { q, k, v },
    { slopes: [0.5, 1] },
    () => reference.lightningAttention(q, k, v, { slopes: [0.5, 1], ...options }),
  ],
  simpleGla: [{ q, k, v, g }, {}, () => reference.simpleGla(q, k, v, g, options)],
  gla: [
    { q, k, v, g: w },
    { reverse: true },
    () => reference.gla(q, k, v, w, { reverse: true, ...options }),
  ],
  hgrn2: [
    { q, f, v },
    { lowerBound: 0.1 },
    () => reference.hgrn2(q, f, v, { lowerBound: 0.1, ...options }),
  ],
  "hgrn2 with bounds": [
    { q, f, v, lowerBound: bounds },
    {},
    () => reference.hgrn2(q, f, v, { lowerBound: bounds, ...options }),
  ],
  lightNet: [
    { q, k, v, "initialState.s": lightNetState.s, "initialState.z": lightNetState.z },
    { scale: 0.5 },
    () => reference.lightNet(q, k, v, { scale: 0.5, initialState: lightNetState, ...options }),
  ],
  mlstm: [
    {
      q,
      k,
      v,
      i,
      f: g,
      "initialState.c": mlstmState.c,
      "initialState.n": mlstmState.n,
      "initialState.m": m,
    },
    { gate: "sigmoid" },
    () => reference.mlstm(q, k, v, i, g, { gate: "sigmoid", initialState: mlstmState, ...options }),
  ],
  mamba2: [
    { x: v, dt: g, a, b: k, c: q, d },
    { dtSoftplus: true },
    () => reference.mamba2(v, g, a, k, q, { d, dtSoftplus: true, ...options }),
  ],
  rwkv6: [
    { r: q, k, v, w, u },
    { scale: 1 },
    () => reference.rwkv6(q, k, v, w, u, { scale: 1, ...options }),
  ],
  hgrn: [
    { x: v, g: w, initialState: normalState },
    { reverse: true },
    () => reference.hgrn(v, w, { reverse: true, initialState: normalState, ...options }),
  ],
  causalConv1d: [
    { x: sequence, weight, bias, state: tail },
    { activation: "silu" },
    () => reference.causalConv1d(sequence, weight, { ...silu, bias, state: tail, ...options }),
  ],
} as const;

for (const [label, [arrays, given, expected]] of Object.entries(OPERATORS)) {
  const [operator] = label.split(" ");
  Deno.test({
    name: `run() calls ${label} by the names of its parameters`,
    ignore: adapter === null,
    async fn() {
      const folder = Deno.makeTempDirSync({ prefix: "tessera-run-" });
      const log = console.log;
      console.log = () => {};
      try {
        for (const [name, { data, shape }] of Object.entries(arrays)) {
          Deno.writeFileSync(`${folder}/${name}.npy`, encodeNpy({ data, shape }));
        }
        const files = ["--inputs", folder, "--outputs", folder];
        const code = await main(["run", operator, ...files, "--options", JSON.stringify(given)]);

        assertEquals(code, 0);
        const read = (name: string) =>
          decodeNpy(Deno.readFileSync(`${folder}/${name}.npy`), name).data;
        const outputs = flattened<reference.ReferenceTensor>(expected());
        for (const [name, { data }] of Object.entries(outputs)) {
          assertClose(name, read(name), data, { ratio: 1e-5 });
        }
      } finally {
        console.log = log;
        Deno.removeSync(folder, { recursive: true });
      }
    },
  });
}
