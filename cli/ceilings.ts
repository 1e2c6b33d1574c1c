import type { Gpu } from "../gpu/device.ts";
import { TEXTURE_WIDTH } from "../gpu/program.ts";
import { record, runtimeOf } from "../gpu/runtime.ts";
import { fillTexture } from "../gpu/scratch.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { timeRuns } from "../gpu/timing.ts";
import { COPY_THREADS, copyCeiling } from "../kernels/ceiling/copy.ts";
import { FMA_THREADS, fmaCeiling, type FmaConfig } from "../kernels/ceiling/fma.ts";
import type { InputSource } from "../kernels/shared/rows.ts";
import { inputSources } from "../ops/attention/sources.ts";
import { median } from "./quantile.ts";

/** What kernels reach at best on this adapter, measured by microkernels. */
export interface Ceilings {
  /** Multiply-adds on registers, two operations each, in GFLOP/s. */
  readonly gflops: number;
  /** Bytes read and written by a kernel that makes a large copy, in GB/s. */
  readonly gbps: number;
  /** Bytes read and written by a copy command, in GB/s: kernels of software drivers are slower. */
  readonly commandGbps: number;
}

/** Shapes of the multiply-add kernel; compilers differ in which they run fastest. */
const FMA_SHAPES: readonly FmaConfig[] = [
  { accumulators: 2, unrolled: 16 },
  { accumulators: 4, unrolled: 8 },
  { accumulators: 6, unrolled: 8 },
  { accumulators: 8, unrolled: 8 },
];

/** Work with a rate: operations of a call in GFLOP, or bytes in GB, over its time. */
interface Microkernel {
  readonly kind: keyof Ceilings;
  /** Thousand millions of operations or bytes of a call. */
  readonly amount: number;
  call(): void;
  /** Rates of the calls that were timed. */
  readonly rates: number[];
}

/**
 * Microkernels that are timed in turn with what is held against their rates: a machine that slows
 * down for a while slows both, and medians stand beside medians.
 */
export class CeilingMeter implements Disposable {
  readonly #gpu: Gpu;
  readonly #kernels: readonly Microkernel[];
  readonly #resources: DisposableStack;

  /** Use `CeilingMeter.open()`. */
  private constructor(gpu: Gpu, kernels: readonly Microkernel[], resources: DisposableStack) {
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#resources = resources;
  }

  /** Compiles the microkernels, and keeps the fastest of each kind. */
  static async open(gpu: Gpu): Promise<CeilingMeter> {
    const resources = new DisposableStack();
    const all = [...fmaKernels(gpu, resources), ...copyKernels(gpu, resources)];
    await sample(gpu, all, { runs: 5, warmups: 1 });
    const kinds: readonly (keyof Ceilings)[] = ["gflops", "gbps", "commandGbps"];
    const fastest = kinds.map((kind) =>
      all.filter((kernel) => kernel.kind === kind)
        .reduce((best, kernel) => median(kernel.rates) > median(best.rates) ? kernel : best)
    );
    fastest.forEach(({ rates }) => rates.length = 0);
    return new CeilingMeter(gpu, fastest, resources);
  }

  /** Times each microkernel once more. */
  async sample(): Promise<void> {
    await sample(this.#gpu, this.#kernels, { runs: 1, warmups: 0 });
  }

  /** How often `sample()` was called. */
  get samples(): number {
    return this.#kernels[0].rates.length;
  }

  /** The median rates of all samples but the first `since`. */
  ceilings(since: number = 0): Ceilings {
    const rates = this.#kernels.map(({ kind, rates }) => [kind, median(rates.slice(since))]);
    return Object.fromEntries(rates) as unknown as Ceilings;
  }

  /** Frees what the microkernels read and write. */
  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

/** Samples of a measurement that nothing else is timed in turn with. */
const SAMPLES = 5;

/** Measures the ceilings once. */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  using meter = await CeilingMeter.open(gpu);
  for (let n = 0; n < SAMPLES; n++) await meter.sample();
  return meter.ceilings();
}

async function sample(
  gpu: Gpu,
  kernels: readonly Microkernel[],
  times: { readonly runs: number; readonly warmups: number },
): Promise<void> {
  for (const { amount, rates, call } of kernels) {
    const milliseconds = await timeRuns(gpu, call, times);
    rates.push(...milliseconds.map((ms) => 1000 * amount / ms));
  }
}

function fmaKernels(gpu: Gpu, resources: DisposableStack): Microkernel[] {
  const [workgroups, rounds] = gpu.adapter.software ? [256, 128] : [16_384, 512];
  const invocations = workgroups * FMA_THREADS;
  const sums = resources.use(gpu.empty([invocations * 4], "f32"));
  return FMA_SHAPES.map((shape): Microkernel => {
    const program = fmaCeiling(shape);
    const call = (): void =>
      record(gpu, "FMA ceiling", (operation) =>
        operation.launch({
          program,
          resources: { sums: { buffer: sums.buffer } },
          params: { rounds },
          grid: [workgroups, 1, 1],
        }));
    const flops = 8 * invocations * rounds * shape.accumulators * shape.unrolled;
    return { kind: "gflops", amount: flops / 1e9, call, rates: [] };
  });
}

/** Copies by kernels, from wherever the library's kernels may read, and by a command. */
function copyKernels(gpu: Gpu, resources: DisposableStack): Microkernel[] {
  const bytes = gpu.adapter.software ? 2 ** 26 : 2 ** 28;
  const { maxStorageBufferBindingSize: largest, maxComputeWorkgroupsPerDimension: most } =
    gpu.limits;
  const workgroups = Math.min(Math.floor(Math.min(bytes, largest) / 16 / COPY_THREADS), most);
  const count = workgroups * COPY_THREADS;
  const source = resources.use(gpu.empty([count * 4], "f32"));
  const copied = resources.use(gpu.empty([count * 4], "f32"));
  const byKernel = (from: InputSource): () => void => {
    const program = copyCeiling({ source: from });
    const resource = from === "texture"
      ? resources.adopt(texels(gpu, source, count), (texture) => texture.destroy()).createView()
      : { buffer: source.buffer };
    return () =>
      record(gpu, "copy ceiling", (operation) =>
        operation.launch({
          program,
          resources: { source: resource, copied: { buffer: copied.buffer } },
          params: { sourceFirst: 0, copiedFirst: 0 },
          grid: [workgroups, 1, 1],
        }));
  };
  const byCommand = (): void =>
    runtimeOf(gpu).recorder.copies()
      .copyBufferToBuffer(source.buffer, 0, copied.buffer, 0, count * 16);
  const amount = 2 * count * 16 / 1e9;
  const sources = inputSources({ rows: count, widths: [4], copyable: true }, gpu);
  return [
    ...sources.map((from): Microkernel => ({
      ...{ kind: "gbps", amount, call: byKernel(from), rates: [] },
    })),
    { kind: "commandGbps", amount, call: byCommand, rates: [] },
  ];
}

/** The rows as texels, copied: zeroing a texture that nothing wrote would spoil llvmpipe's timestamps. */
function texels(gpu: Gpu, source: Tensor, count: number): GPUTexture {
  const texture = gpu.device.createTexture({
    label: "copy ceiling",
    size: [TEXTURE_WIDTH, Math.ceil(count / TEXTURE_WIDTH)],
    format: "rgba32float",
    usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
  });
  fillTexture(runtimeOf(gpu).recorder.copies(), source.buffer, texture, [[0, count]]);
  return texture;
}
