// onnxruntime on the processor: native code and WebAssembly. Tensors lie in the process's memory.
import type { Contestant, Library, Way } from "./contestant.ts";
import { onnxModel } from "./onnx_model.ts";
import { type OnnxOperator, onnxOperator } from "./onnx_operators.ts";
import { importFile, installedVersion, requirePackage } from "./packages.ts";

/** onnxruntime-node, with one thread and with as many as it takes by itself. */
export async function openNative(): Promise<Library> {
  return await openHost("onnxruntime-node", requirePackage("onnxruntime-node"), {
    ", 1 thread": { intraOpNumThreads: 1 },
    ", default threads": {},
  });
}

/** The Wasm provider of onnxruntime-web: the build for pages that do without WebGPU. */
export async function openWasm(): Promise<Library> {
  const ort = await importFile("onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  return await openHost("onnxruntime-web", ort, { ", 1 thread": { executionProviders: ["wasm"] } });
}

async function openHost(
  name: string,
  // deno-lint-ignore no-explicit-any -- its types come with the package
  ort: any,
  variants: Readonly<Record<string, object>>,
): Promise<Library> {
  const version = await installedVersion(name);
  const wayOf = ({ node, feeds }: OnnxOperator, options: object): Way => async (inputs) => {
    const session = await ort.InferenceSession.create(onnxModel(node), options);
    const tensors = Object.entries(feeds(inputs)).map(([name, { data, shape }]) => [
      name,
      new ort.Tensor("float32", data, shape),
    ]);
    return contestantOf(session, Object.fromEntries(tensors));
  };
  return {
    version: `${version}`,
    ways(problem) {
      const operator = onnxOperator(problem);
      return Object.fromEntries(
        Object.entries(variants).map(([name, options]) => [name, wayOf(operator, options)]),
      );
    },
  };
}

/** The parts of a session that are used here; its one output is called `output`. */
interface HostSession {
  run(feeds: object): Promise<{ readonly output: { readonly data: Float32Array } }>;
  release(): Promise<void>;
}

function contestantOf(session: HostSession, feeds: object): Contestant {
  return {
    async call() {
      await session.run(feeds);
      return () => {};
    },
    done: () => Promise.resolve(), // a call has been waited for
    out: async () => (await session.run(feeds)).output.data,
    close: () => session.release(),
  };
}
