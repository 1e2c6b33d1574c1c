import type { Gpu } from "../gpu/device.ts";
import { constants, declare, type Program } from "../gpu/program.ts";
import { record } from "../gpu/runtime.ts";
import { attention } from "../ops/attention/mod.ts";
import { type AttentionCase, attentionInputs, loadCase } from "./attention_case.ts";
import type { HostTensor } from "./host_tensor.ts";
import { type CheckGroup, checkItem } from "./outcome.ts";

const CASE: AttentionCase = {
  batch: 1,
  qLen: 100,
  kvLen: 100,
  heads: 2,
  kvHeads: 2,
  headDim: 16,
  valueDim: 16,
  dtype: "f32",
  inputs: "normal",
  seed: 7,
  causal: true,
};

/** Properties that hold to the bit, and traps of drivers and compilers that kernels step around. */
export const PROPERTIES: readonly CheckGroup[] = [
  {
    operator: "platform",
    group: "known traps",
    items: [checkItem("initialised variables start anew in each iteration", 0, freshVariables)],
  },
  {
    operator: "attention",
    group: "properties",
    items: [
      checkItem("the same inputs give the same bits", 0, repeats),
      checkItem("later tokens do not change earlier outputs", 0, causalPrefix),
    ],
  },
];

async function repeats(gpu: Gpu): Promise<number> {
  using loaded = loadCase(gpu, CASE);
  const runs = [loaded.compute(), loaded.compute()];
  const [first, second] = await Promise.all(runs.map(({ out }) => out.read()));
  runs.forEach(({ out, lse }) => [out, lse].forEach((tensor) => tensor?.dispose()));
  return differing(first, second, first.length);
}

async function causalPrefix(gpu: Gpu): Promise<number> {
  const kept = 57;
  const { q, k, v } = attentionInputs(CASE);
  const tail = ({ data, shape }: HostTensor): HostTensor => {
    const changed = data.slice();
    changed.fill(9, kept * shape[2] * shape[3]);
    return { data: changed, shape };
  };
  const run = async (inputs: HostTensor[]): Promise<ArrayLike<number>> => {
    const tensors = inputs.map(({ data, shape }) => gpu.tensor(data as Float32Array, shape));
    const { out } = attention(tensors[0], tensors[1], tensors[2], { causal: true });
    const data = await out.read();
    [...tensors, out].forEach((tensor) => tensor.dispose());
    return data;
  };
  const [first, second] = [await run([q, k, v]), await run([q, tail(k), tail(v)])];
  return differing(first, second, kept * CASE.heads * CASE.valueDim);
}

function differing(a: ArrayLike<number>, b: ArrayLike<number>, length: number): number {
  let count = 0;
  for (let i = 0; i < length; i++) count += Number(!Object.is(a[i], b[i]));
  return count;
}

/**
 * naga does not zero `var x: T;` again in each iteration; kernels write the initialiser. This
 * proves that the initialiser is heeded, for scalars and arrays.
 */
async function freshVariables(gpu: Gpu): Promise<number> {
  const bindings = [{ name: "seen", access: "read_write", type: "array<u32>" } as const];
  const params = { count: "u32" } as const;
  const code = [constants({ COUNT: 4 }), declare(bindings, params), FRESH_VARIABLES].join("\n");
  const program: Program = { label: "fresh variables", code, bindings, params, subgroups: false };
  using seen = gpu.empty([4], "u32");
  record(gpu, "fresh variables", (operation) =>
    operation.launch({
      program,
      resources: { seen: { buffer: seen.buffer } },
      params: { count: 4 },
      grid: [1, 1, 1],
    }));
  return (await seen.read()).reduce((count, value) => count + Number(value !== 2), 0);
}

const FRESH_VARIABLES = /* wgsl */ `
@compute @workgroup_size(1)
fn main() {
  for (var i = 0u; i < params.count; i++) {
    var scalar = u32();
    var list = array<u32, COUNT>();
    scalar++;
    list[i]++;
    list[0]++;
    seen[i] = scalar + list[i] - select(0u, 1u, i == 0u);
  }
}
`;
