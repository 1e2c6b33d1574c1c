// onnxruntime-web on WebGPU, its tensors kept on the device.
import type { HostTensor } from "../../cli/host_tensor.ts";
import type { Contestant, Library, Way } from "./contestant.ts";
import { onnxModel } from "./onnx_model.ts";
import { type OnnxOperator, onnxOperator } from "./onnx_operators.ts";
import { importFile, installedVersion } from "./packages.ts";

/** Deno panics when onnxruntime-web asks a device for an adapter that has been collected. */
const adapters: GPUAdapter[] = [];

/** Opens a device as onnxruntime-web finds it in Deno and, where there are subgroups, one that has them. */
export async function openWebGpu(subgroups: boolean): Promise<Library> {
  const ort = await importFile("onnxruntime-web/dist/ort.webgpu.bundle.min.mjs");
  ort.env.wasm.numThreads = 1; // there is nothing for the CPU to compute
  const devices = {
    "": await openDevice([]),
    ...(subgroups && { ", given subgroups": await openDevice(["subgroups" as GPUFeatureName]) }),
  };
  const wayOf = ({ node, feeds }: OnnxOperator, device: GPUDevice): Way => async (inputs) => {
    const session = await ort.InferenceSession.create(onnxModel(node), {
      executionProviders: [{ name: "webgpu", device }],
      preferredOutputLocation: "gpu-buffer",
    });
    const tensors = Object.entries(feeds(inputs)).map(([name, { data, shape }]) => {
      const options = { dataType: "float32", dims: shape };
      return [name, ort.Tensor.fromGpuBuffer(upload(device, data), options)];
    });
    return contestantOf(session, device, Object.fromEntries(tensors));
  };
  return {
    version: `${await installedVersion("onnxruntime-web")}`,
    ways(problem) {
      const operator = onnxOperator(problem);
      return Object.fromEntries(
        Object.entries(devices).map(([name, device]) => [name, wayOf(operator, device)]),
      );
    },
  };
}

/**
 * Opens a device on the adapter that the toolkit opens, too.
 *
 * In Deno adapters do not list subgroups, so that onnxruntime-web does without them; devices have them
 * on demand.
 */
async function openDevice(requiredFeatures: GPUFeatureName[]): Promise<GPUDevice> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("Cannot request a GPU device: no adapter is available");
  adapters.push(adapter);
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize };
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = (module) =>
    createShaderModule({ ...module, code: forDeno(module.code) });
  return device;
}

/**
 * Deno's compiler refuses the directive that announces subgroups in browsers, and does not zero what a
 * loop declares without a value: the kernel with subgroups would sum the scores of all tiles.
 */
function forDeno(wgsl: string): string {
  return wgsl
    .replace("enable subgroups;", "")
    .replace(/^( +var \w+ ?: ?)([\w<>, ]+);$/gm, "$1$2 = $2();");
}

function upload(device: GPUDevice, data: HostTensor["data"]): GPUBuffer {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const size = Math.max(16, 16 * Math.ceil(data.byteLength / 16));
  const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
  new Float32Array(buffer.getMappedRange()).set(data);
  buffer.unmap();
  return buffer;
}

/** The parts of a session that are used here; its one output is called `output`. */
interface DeviceSession {
  run(feeds: object): Promise<{ readonly output: DeviceTensor }>;
  release(): Promise<void>;
}

/** A tensor on the device. */
interface DeviceTensor {
  readonly gpuBuffer: GPUBuffer;
  getData(): Promise<Float32Array>;
  dispose(): void;
}

function contestantOf(
  session: DeviceSession,
  device: GPUDevice,
  feeds: Readonly<Record<string, DeviceTensor>>,
): Contestant {
  return {
    async call() {
      const { output } = await session.run(feeds);
      return () => output.dispose();
    },
    done: () => device.queue.onSubmittedWorkDone(),
    async out() {
      const { output } = await session.run(feeds);
      const data = await output.getData();
      output.dispose();
      return data;
    },
    async close() {
      await session.release();
      for (const { gpuBuffer } of Object.values(feeds)) gpuBuffer.destroy();
    },
  };
}
