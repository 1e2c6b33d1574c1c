import type { Gpu } from "./device.ts";
import { Bounded } from "./bounded.ts";
import { DeviceError } from "./errors.ts";
import { MemoryMeter } from "./memory.ts";
import { type CompilerOptions, PipelineCache } from "./pipeline.ts";
import { type Operation, Recorder } from "./recorder.ts";
import type { Tape } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** Calls that are remembered, fewer where they hold tables: each weighs one, and its tables on top. */
const TAPES = 1024;

/** What a `Gpu` keeps to itself and shares with operators. */
export class Runtime {
  /** The plain device. */
  readonly device: GPUDevice;
  /** Live and peak bytes. */
  readonly meter: MemoryMeter = new MemoryMeter();
  /** Compiled programs. */
  readonly pipelines: PipelineCache;
  /** Recorded work. */
  readonly recorder: Recorder;
  /** What calls recorded, by the spelling of their arguments. */
  readonly tapes: Bounded<Tape> = new Bounded(TAPES);
  readonly #scopes: Set<Tensor>[] = [];
  readonly #promised: WeakMap<Tensor, number> = new WeakMap();

  /** Makes the runtime of a device. */
  constructor(device: GPUDevice, options: CompilerOptions) {
    this.device = device;
    this.pipelines = new PipelineCache(device, options);
    this.recorder = new Recorder(device, this.pipelines, this.meter);
  }

  /** Counts a new tensor and notes it in the innermost scope. */
  adopt(tensor: Tensor, bytes: number): void {
    this.meter.add(bytes, 1);
    this.#scopes.at(-1)?.add(tensor);
  }

  /** Takes a disposed tensor out of the books. */
  release(tensor: Tensor, owned: boolean): void {
    this.meter.remove(owned ? tensor.buffer.size : 0, 1);
    this.recorder.tape?.dispose(tensor);
    for (const scope of this.#scopes) scope.delete(tensor);
    if (owned) this.recorder.retire(tensor.buffer);
  }

  /** Runs `body` and disposes the tensors made in it that `kept` does not find in its result. */
  scope<T>(body: () => T, kept: (result: T) => ReadonlySet<Tensor>): T {
    const made = new Set<Tensor>();
    this.#scopes.push(made);
    let survivors: ReadonlySet<Tensor> = new Set();
    try {
      const result = body();
      survivors = kept(result);
      return result;
    } finally {
      this.#scopes.pop();
      for (const tensor of made) {
        if (survivors.has(tensor)) this.#scopes.at(-1)?.add(tensor);
        else tensor.dispose();
      }
    }
  }

  /** Notes that the operator which is being recorded computes a tensor. */
  promise(tensor: Tensor): void {
    this.#promised.set(tensor, this.recorder.submission);
  }

  /** Submits, waits, and returns a copy of the elements of a tensor. */
  async read(tensor: Tensor): Promise<ArrayBuffer> {
    const bytes = await this.download(tensor.buffer, tensor.bytes);
    this.recorder.failures.ensureComputed(this.#promised.get(tensor));
    return bytes;
  }

  /** Submits, waits, and returns a copy of a buffer's first bytes. */
  async download(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    const { recorder, device } = this;
    recorder.ensureAlive("a read");
    if (recorder.rehearsal !== null) {
      throw new TypeError("Cannot read a tensor as calls compute nothing while they are prepared");
    }
    const size = Math.ceil(bytes / 4) * 4;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = device.createBuffer({ label: "download", size: Math.max(size, 4), usage });
    try {
      if (size > 0) recorder.copies().copyBufferToBuffer(buffer, 0, staging, 0, size);
      recorder.submit();
      const [mapped] = await Promise.allSettled([staging.mapAsync(GPUMapMode.READ)]);
      // a lost device refuses to map a moment before it says that it is lost
      if (mapped.status === "rejected") await Promise.race([device.lost, pause(100)]);
      await recorder.settled();
      if (mapped.status === "rejected") throw new DeviceError("a read", String(mapped.reason));
      return staging.getMappedRange().slice(0, bytes);
    } finally {
      staging.destroy();
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}

const runtimes = new WeakMap<Gpu, Runtime>();

/** Gives a `Gpu` its runtime. */
export function attachRuntime(gpu: Gpu, runtime: Runtime): void {
  runtimes.set(gpu, runtime);
}

/** The runtime of a `Gpu`. */
export function runtimeOf(gpu: Gpu): Runtime {
  const runtime = runtimes.get(gpu);
  if (runtime === undefined) throw new TypeError("Cannot use a Gpu that requestGpu() did not make");
  return runtime;
}

/** Records an operator; the one way in for `ops/`. */
export function record<T>(gpu: Gpu, name: string, body: (operation: Operation) => T): T {
  return runtimeOf(gpu).recorder.operation(name, body);
}
