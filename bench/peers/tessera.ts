// The toolkit itself, as its users call it.
import { loadCase } from "../../cli/attention_case.ts";
import { gatedDeltaRule, type Gpu, type Tensor } from "../../mod.ts";
import config from "../../deno.json" with { type: "json" };
import type { Contestant, Library } from "./contestant.ts";
import type { Inputs } from "./problems.ts";

/** The toolkit on an open device. */
export function openTessera(gpu: Gpu): Library {
  return {
    version: config.version,
    ways: (problem) => ({
      "": (inputs) =>
        Promise.resolve(
          problem.operator === "attention"
            ? contestantOf(gpu, loadCase(gpu, problem.case))
            : contestantOf(gpu, loadDelta(gpu, inputs)),
        ),
    }),
  };
}

/** A problem on the device. */
interface Loaded extends Disposable {
  compute(): { readonly out: Tensor };
}

function loadDelta(gpu: Gpu, inputs: Inputs): Loaded {
  const tensors = ["q", "k", "v", "g", "beta"].map((name): Tensor<"f32"> =>
    gpu.tensor(inputs[name].data as Float32Array, inputs[name].shape)
  );
  const [q, k, v, g, beta] = tensors;
  return {
    compute: () => gatedDeltaRule(q, k, v, g, beta),
    [Symbol.dispose]: () => tensors.forEach((tensor) => tensor.dispose()),
  };
}

function contestantOf(gpu: Gpu, loaded: Loaded): Contestant {
  return {
    call() {
      const { out } = loaded.compute();
      return Promise.resolve(() => out.dispose());
    },
    done: () => gpu.submit(),
    async out() {
      using out = loaded.compute().out;
      return await out.read();
    },
    close: () => Promise.resolve(loaded[Symbol.dispose]()),
  };
}
