// @jax-js/jax on WebGPU: dotProductAttention of its library, jitted.
import type { AttentionCase } from "../../cli/attention_case.ts";
import type { HostTensor } from "../../cli/host_tensor.ts";
import type { Contestant, Library } from "./contestant.ts";
import { importFile, installedVersion } from "./packages.ts";
import type { Inputs } from "./problems.ts";

/** An array, counted by references: an argument is used up unless its `ref` is passed. */
interface JaxArray {
  readonly ref: JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** Opens its WebGPU device. */
export async function openJax(): Promise<Library> {
  const jax = await importFile("@jax-js/jax/dist/index.js");
  const devices: readonly string[] = await jax.init("webgpu");
  if (!devices.includes("webgpu")) {
    throw new Error(`Cannot open jax-js on WebGPU: it offers ${devices.join(", ")}`);
  }
  jax.defaultDevice("webgpu");
  return {
    version: `${await installedVersion("@jax-js/jax")}`,
    ways: (problem) =>
      problem.operator === "attention"
        ? { "": (inputs) => loadAttention(jax, problem.case, inputs) }
        : {},
  };
}

async function loadAttention(
  // deno-lint-ignore no-explicit-any -- its types come with the package
  jax: any,
  { causal, window, kvLen }: AttentionCase,
  inputs: Inputs,
): Promise<Contestant> {
  const options = {
    isCausal: causal === true,
    ...(window && { localWindowSize: [window.left ?? kvLen, window.right ?? kvLen] }),
  };
  const upload = ({ data, shape }: HostTensor): JaxArray => jax.numpy.array(data, { shape });
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map(upload);
  await jax.blockUntilReady([q, k, v]);
  const attention = jax.jit((q: JaxArray, k: JaxArray, v: JaxArray): JaxArray =>
    jax.nn.dotProductAttention(q, k, v, options)
  );
  const compute = (): JaxArray => attention(q.ref, k.ref, v.ref);
  const recorded: JaxArray[] = []; // they are dispatched when they are waited for
  return {
    call() {
      const out = compute();
      recorded.push(out);
      return Promise.resolve(() => out.dispose());
    },
    done: () => jax.blockUntilReady(recorded.splice(0)),
    out: () => compute().data(),
    close() {
      for (const array of [q, k, v]) array.dispose();
      return Promise.resolve();
    },
  };
}
