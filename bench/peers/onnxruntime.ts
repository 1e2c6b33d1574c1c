// Operators of onnxruntime-web on WebGPU, their tensors kept on the device.
import { createRequire } from "node:module";

/** A model of one operator with f32 tensors and one output. */
export interface OrtOperator {
  /** Its name in the domain `com.microsoft`. */
  readonly name: string;
  /** Names of the inputs in order, "" for one that is left out. */
  readonly inputs: readonly string[];
  readonly attributes: readonly OrtAttribute[];
}

/** An attribute of a node. */
export type OrtAttribute = readonly [name: string, type: "float" | "int" | "text", value: unknown];

/** An operator on inputs that are there, ready to be run many times. */
export interface OrtLoaded {
  /** Records one call; resolves before it is done. */
  run(): Promise<OrtOutput>;
  /** Waits for all that was recorded. */
  done(): Promise<void>;
}

/** An output on the device. */
export interface OrtOutput {
  getData(): Promise<Float32Array>;
  dispose(): void;
}

/** An operator whose model is loaded. */
export interface OrtSession {
  readonly version: string;
  /** Uploads the inputs. */
  load(inputs: Readonly<Record<string, OrtInput>>): OrtLoaded;
}

/** An input on the host. */
export interface OrtInput {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** AttributeProto.AttributeType, and the field that holds the value. */
const ATTRIBUTES = { float: [1, "f"], int: [2, "i"], text: [3, "s"] } as const;
/** TensorProto.DataType. */
const F32 = 1;
const DOMAIN = "com.microsoft";

/** Opens a session on a device of its own: as onnxruntime-web finds it in Deno, or with subgroups. */
export async function openSession(
  operator: OrtOperator,
  { subgroups }: { readonly subgroups: boolean },
): Promise<OrtSession> {
  const { ort, onnx } = await loadPackages();
  ort.env.wasm.numThreads = 1; // there is nothing for the CPU to compute
  const device = await openDevice(subgroups);
  const session = await ort.InferenceSession.create(modelOf(onnx, operator), {
    executionProviders: [{ name: "webgpu", device }],
    preferredOutputLocation: "gpu-buffer",
  });
  return {
    version: ort.env.versions.web,
    load(inputs) {
      const feeds = Object.entries(inputs).map(([name, { data, shape }]) => {
        const options = { dataType: "float32", dims: shape };
        return [name, ort.Tensor.fromGpuBuffer(upload(device, data), options)];
      });
      return {
        run: async () => (await session.run(Object.fromEntries(feeds))).output,
        done: () => device.queue.onSubmittedWorkDone(),
      };
    },
  };
}

/** Imports what npm installed; the toolkit itself never needs it. */
async function loadPackages() {
  const modules = new URL("npm/node_modules/", import.meta.url);
  const bundle = new URL("onnxruntime-web/dist/ort.webgpu.bundle.min.mjs", modules);
  try {
    const { onnx } = createRequire(modules)("onnx-proto");
    return { ort: await import(bundle.href), onnx };
  } catch (cause) {
    throw new Error(
      "Cannot compare with onnxruntime-web as npm must have installed it: run npm install --prefix bench/peers/npm",
      { cause },
    );
  }
}

/**
 * Opens a device on the adapter that the toolkit opens, too.
 *
 * In Deno adapters do not list subgroups, so that onnxruntime-web does without them. Devices have them
 * on demand; only the directive that announces them in browsers is refused, and is left out here.
 */
async function openDevice(subgroups: boolean): Promise<GPUDevice> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("Cannot request a GPU device: no adapter is available");
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: subgroups ? ["subgroups" as GPUFeatureName] : [],
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = ({ code, ...rest }) =>
    createShaderModule({ ...rest, code: code.replace("enable subgroups;", "") });
  return device;
}

function upload(device: GPUDevice, data: Float32Array): GPUBuffer {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const size = Math.max(16, 16 * Math.ceil(data.byteLength / 16));
  const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
  new Float32Array(buffer.getMappedRange()).set(data);
  buffer.unmap();
  return buffer;
}

/** A model of one node, encoded as ONNX stores it. */
function modelOf(
  // deno-lint-ignore no-explicit-any -- its types come with the package
  onnx: any,
  { name, inputs, attributes }: OrtOperator,
): Uint8Array {
  const tensor = (name: string): object => ({ name, type: { tensorType: { elemType: F32 } } });
  const attribute = attributes.map(([name, kind, value]) => {
    const [type, field] = ATTRIBUTES[kind];
    return { name, type, [field]: kind === "text" ? new TextEncoder().encode(`${value}`) : value };
  });
  const node = { opType: name, domain: DOMAIN, input: inputs, output: ["output", "state"] };
  const model = {
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }, { domain: DOMAIN, version: 1 }],
    graph: {
      name,
      node: [{ ...node, attribute }],
      input: inputs.filter((input) => input !== "").map(tensor),
      output: [tensor("output")],
    },
  };
  return onnx.ModelProto.encode(onnx.ModelProto.create(model)).finish();
}
