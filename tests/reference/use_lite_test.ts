import { attention, type ReferenceTensor } from "../../reference/mod.ts";
import { decodeNpy } from "../../cli/npy.ts";
import { assertClose } from "../assert_close.ts";

/** Reads a tensor of the Universal Sentence Encoder lite. */
async function read(path: string): Promise<ReferenceTensor> {
  const bytes = await Deno.readFile(new URL(`../data/use-lite/${path}`, import.meta.url));
  return decodeNpy(bytes, path);
}

for (const layer of ["layer0", "layer1"]) {
  Deno.test(`attention() matches TensorFlow.js on ${layer} of a sentence encoder`, async () => {
    const q = await read(`${layer}/q.npy`);
    const k = await read(`${layer}/k.npy`);
    const v = await read(`${layer}/v.npy`);
    const expected = await read(`${layer}/expected_out.npy`);

    const { out } = attention(q, k, v);

    assertClose("out", out.data, expected.data, { ratio: 1e-5 });
  });
}
