// Tensors of a trained model from .npy files: a layer of the Universal Sentence Encoder lite, against
// the attention output that TensorFlow.js computed for it.
// deno run --allow-read examples/npy_files.ts
import { compareHeads } from "../cli/compare.ts";
import { decodeNpy } from "../cli/npy.ts";
import { attention, requestGpu } from "../mod.ts";

const layer = new URL("../tests/data/use-lite/layer0/", import.meta.url);
const read = async (name: string) => decodeNpy(await Deno.readFile(new URL(name, layer)), name);

using gpu = await requestGpu();
const tensors = await Promise.all(["q.npy", "k.npy", "v.npy"].map(async (name) => {
  const { data, shape } = await read(name);
  if (!(data instanceof Float32Array)) throw new TypeError(`Cannot use ${name} as it must be f32`);
  return gpu.tensor(data, shape);
}));
const [q, k, v] = tensors;
const { out } = attention(q, k, v);
const expected = await read("expected_out.npy");
const [, , heads, dim] = out.shape;
const { ratio } = compareHeads(await out.read(), expected.data, heads, dim);
console.log(`[${out.shape}] agrees with TensorFlow.js: error ratio ${ratio.toExponential(1)}`);
[...tensors, out].forEach((tensor) => tensor.dispose());
