// TensorFlow.js on WebGPU. It has no operator for attention: matMul, softmax, matMul.
import type { AttentionCase } from "../../cli/attention_case.ts";
import { keyRanges } from "../../cli/attention_problem.ts";
import type { HostTensor } from "../../cli/host_tensor.ts";
import type { Contestant, Library } from "./contestant.ts";
import { installedVersion, requirePackage } from "./packages.ts";
import type { Inputs } from "./problems.ts";

/** A tensor on the device. */
interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The parts of its WebGPU backend that are used here. */
interface WebGpuBackend {
  readonly queue: GPUQueue;
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** Opens its WebGPU device. */
export async function openTfjs(): Promise<Library> {
  const tf = requirePackage("@tensorflow/tfjs-core");
  requirePackage("@tensorflow/tfjs-backend-webgpu");
  if (!await tf.setBackend("webgpu")) {
    throw new Error(`Cannot open TensorFlow.js on WebGPU: its backend is ${tf.getBackend()}`);
  }
  return {
    version: `${await installedVersion("@tensorflow/tfjs-core")}`,
    ways: (problem) =>
      problem.operator === "attention"
        ? {
          "": (inputs) => Promise.resolve(loadAttention(tf, problem.case, inputs)),
        }
        : {},
  };
}

// deno-lint-ignore no-explicit-any -- its types come with the package
function loadAttention(tf: any, c: AttentionCase, inputs: Inputs): Contestant {
  const upload = ({ data, shape }: HostTensor): TfTensor => tf.tensor(data, shape);
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map(upload);
  const mask = c.causal ? upload(maskOf(c)) : undefined;
  const compute = (): TfTensor => tf.tidy(() => attention(tf, c, [q, k, v], mask));
  const backend: WebGpuBackend = tf.backend();
  return {
    call() {
      const out = compute();
      return Promise.resolve(() => out.dispose());
    },
    async done() {
      backend.endComputePassEncoder();
      if (backend.commandEncoder) backend.submitQueue();
      await backend.queue.onSubmittedWorkDone();
    },
    async out() {
      const out = compute();
      const data = await out.data();
      out.dispose();
      return data;
    },
    close() {
      for (const tensor of [q, k, v, mask]) tensor?.dispose();
      return Promise.resolve();
    },
  };
}

/** Queries of heads that share a kv head stand one below the other, so that nothing is repeated. */
function attention(
  // deno-lint-ignore no-explicit-any -- its types come with the package
  tf: any,
  { batch, qLen, kvLen, heads, kvHeads, headDim, valueDim }: AttentionCase,
  tensors: readonly TfTensor[],
  mask: TfTensor | undefined,
): TfTensor {
  const [q, k, v] = tensors.map((tensor) => tf.transpose(tensor, [0, 2, 1, 3])); // [B, H, T, D]
  const rows = heads / kvHeads * qLen;
  const grouped = tf.reshape(tf.mul(q, headDim ** -0.5), [batch, kvHeads, rows, headDim]);
  const scores = tf.reshape(tf.matMul(grouped, k, false, true), [batch, heads, qLen, kvLen]);
  const weights = tf.softmax(mask ? tf.add(scores, mask) : scores);
  const out = tf.matMul(tf.reshape(weights, [batch, kvHeads, rows, kvLen]), v);
  return tf.transpose(tf.reshape(out, [batch, heads, qLen, valueDim]), [0, 2, 1, 3]);
}

/** What hides keys, to be added to the scores: `[T, S]`. */
function maskOf(c: AttentionCase): HostTensor {
  const rangeOf = keyRanges(c);
  const data = new Float32Array(c.qLen * c.kvLen).fill(-1e30);
  for (let i = 0; i < c.qLen; i++) {
    const [first, end] = rangeOf(i);
    data.fill(0, i * c.kvLen + first, i * c.kvLen + end);
  }
  return { data, shape: [c.qLen, c.kvLen] };
}
