import type { Gpu } from "../gpu/device.ts";
import { record, runtimeOf } from "../gpu/runtime.ts";
import { timeRuns } from "../gpu/timing.ts";
import { COPY_THREADS, copyCeiling } from "../kernels/ceiling/copy.ts";
import { FMA_THREADS, fmaCeiling } from "../kernels/ceiling/fma.ts";

/** What this adapter reaches at best, measured. */
export interface Ceilings {
  /** Multiply-adds on registers, two operations each, in GFLOP/s. */
  readonly gflops: number;
  /** Bytes read and written by a large copy, in GB/s. */
  readonly gbps: number;
}

/** Shapes of the multiply-add kernel; compilers differ in which they run fastest. */
const FMA_SHAPES = [
  { accumulators: 2, unrolled: 16 },
  { accumulators: 4, unrolled: 8 },
  { accumulators: 6, unrolled: 8 },
  { accumulators: 8, unrolled: 8 },
];

/** Measures both ceilings; the best of several kernels and runs counts. */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  return { gflops: await fmaRate(gpu), gbps: await copyRate(gpu) };
}

async function fmaRate(gpu: Gpu): Promise<number> {
  const { software } = gpu.adapter;
  const [workgroups, rounds] = software ? [256, 128] : [16_384, 512];
  const invocations = workgroups * FMA_THREADS;
  using sums = gpu.empty([invocations * 4], "f32");
  const rates: number[] = [];
  for (const shape of FMA_SHAPES) {
    const program = fmaCeiling(shape);
    const [fastest] = await timeRuns(
      gpu,
      () =>
        record(gpu, "FMA ceiling", (operation) =>
          operation.launch({
            program,
            resources: { sums: { buffer: sums.buffer } },
            params: { rounds },
            grid: [workgroups, 1, 1],
          })),
      { runs: 7, warmups: 1 },
    );
    const flops = 8 * invocations * rounds * shape.accumulators * shape.unrolled;
    rates.push(flops / fastest / 1e6);
  }
  return Math.max(...rates);
}

async function copyRate(gpu: Gpu): Promise<number> {
  const bytes = gpu.adapter.software ? 2 ** 26 : 2 ** 28;
  const count = Math.min(bytes, gpu.limits.maxStorageBufferBindingSize) / 16;
  using source = gpu.empty([count * 4], "f32");
  using copied = gpu.empty([count * 4], "f32");
  const program = copyCeiling();
  const workgroups = Math.min(16_384, Math.ceil(count / COPY_THREADS));
  const byKernel = (): void =>
    record(gpu, "copy ceiling", (operation) =>
      operation.launch({
        program,
        resources: { source: { buffer: source.buffer }, copied: { buffer: copied.buffer } },
        params: { count, stride: workgroups * COPY_THREADS },
        grid: [workgroups, 1, 1],
      }));
  const byCommand = (): void =>
    runtimeOf(gpu).recorder.copies()
      .copyBufferToBuffer(source.buffer, 0, copied.buffer, 0, count * 16);
  const times: number[] = [];
  for (const copy of [byKernel, byCommand]) {
    times.push(...await timeRuns(gpu, copy, { runs: 7, warmups: 1 }));
  }
  return 2 * count * 16 / Math.min(...times) / 1e6;
}
