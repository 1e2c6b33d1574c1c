import { BindGroups } from "./bind_groups.ts";
import { Blocks } from "./blocks.ts";
import { DeviceError } from "./errors.ts";
import { Failures } from "./failures.ts";
import { Loans } from "./loans.ts";
import type { MemoryMeter } from "./memory.ts";
import type { Pipeline, PipelineCache } from "./pipeline.ts";
import type { BufferRange, Launch, Operation, TexelRun } from "./operation.ts";
import type { TexelFormat } from "./program.ts";
import type { Tape } from "./tape.ts";
import { Retired } from "./retired.ts";
import { fillTexture, ScratchPool } from "./scratch.ts";
import { newTarget, type Target } from "./target.ts";
import { vastParams } from "./vast.ts";

export type { BufferRange, Launch, Operation } from "./operation.ts";

/** Records operators into one encoder and submits it when asked, or when it has grown. */
export class Recorder implements Operation {
  readonly #device: GPUDevice;
  readonly #pipelines: PipelineCache;
  readonly #scratch: ScratchPool;
  readonly #loans: Loans;
  readonly #blocks: Blocks;
  readonly #groups: BindGroups;
  /** What the device found wrong. */
  readonly failures: Failures = new Failures();
  /** Buffers that were freed. */
  readonly retired: Retired = new Retired();
  /** Notes what is recorded, where it is to be recorded again. */
  tape: Tape | null = null;
  /** Takes what operators do, where nothing is to be launched. */
  rehearsal: Operation | null = null;
  readonly #operators: Set<string> = new Set();
  readonly #launched: WeakSet<Pipeline> = new WeakSet();
  #target: Target | null = null;
  #submissions = 0;
  /** How many failures it knows of. */
  #failures = 0;
  /** The operator that is being recorded. */
  #recording: string | null = null;
  #listener: ((step: string) => void) | null = null;
  #lost: string | null = null;

  /** Makes an empty recorder. */
  constructor(device: GPUDevice, pipelines: PipelineCache, meter: MemoryMeter) {
    this.#device = device;
    this.#pipelines = pipelines;
    this.#scratch = new ScratchPool(device, meter);
    this.#loans = new Loans(this.#scratch);
    this.#blocks = new Blocks(device, () => this.submit());
    this.#groups = new BindGroups(device);
    device.lost.then(({ message, reason }) => {
      this.#lost ??= `the GPU device was lost (${reason || "unknown"}): ${message}`;
    });
  }

  /** Records an operator; what the device finds wrong with it, or inside it, a later wait throws. */
  operation<T>(name: string, record: (operation: Operation) => T): T {
    const operation = this.rehearsal ?? this;
    if (this.#recording !== null) return record(operation);
    this.ensureAlive(name);
    if (this.#target === null && this.failures.found > this.#failures) this.#renew();
    this.#recording = name;
    this.tape?.operator(name);
    if (this.rehearsal === null) this.#operators.add(name);
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    try {
      return record(operation);
    } finally {
      this.#recording = null;
      this.tape?.operator(null);
      this.failures.watch(name, this.#device.popErrorScope());
      this.failures.watch(name, this.#device.popErrorScope());
      const foreign = this.#target?.foreign === true;
      this.#loans.end(foreign);
      const tables = this.#blocks.end();
      if (!foreign) tables.forEach((table) => this.#retire(table));
    }
  }

  launch(launch: Launch): void {
    const { program, resources, grid } = launch;
    if (grid.includes(0)) return;
    this.tape?.launch(launch);
    if (this.#target?.foreign) this.retired.share(...Object.values(resources));
    const pipeline = this.#pipelines.get(program, (error) => this.failures.keep(error));
    const { launched } = this.#current();
    if (!this.#launched.has(pipeline) && !launched.has(pipeline)) {
      launched.add(pipeline);
      this.#dispatch(pipeline, { ...launch, params: vastParams(program), grid: [0, 1, 1] });
    }
    this.#dispatch(pipeline, launch);
    this.#listener?.(program.label);
  }

  #dispatch(pipeline: Pipeline, launch: Launch): void {
    const foreign = this.#target?.foreign === true;
    const block = this.#blocks.parameters(launch.program, launch.params, foreign);
    this.#groups.dispatch(this.#pass(), pipeline, launch, block);
  }

  scratch(bytes: number): BufferRange {
    const range = { buffer: this.#loans.buffer(bytes).resource };
    this.tape?.scratch(bytes, range);
    return range;
  }

  texture(source: GPUBuffer, runs: readonly TexelRun[], format: TexelFormat): GPUTextureView {
    const lent = this.#loans.texture(runs.reduce((sum, [, count]) => sum + count, 0), format);
    if (this.#target?.foreign) this.retired.share({ buffer: source });
    fillTexture(this.copies(), source, lent.resource, runs);
    this.tape?.texture(source, { runs, format }, lent.view);
    this.#listener?.("copy into a texture");
    return lent.view;
  }

  giveBack(view: GPUTextureView): void {
    this.tape?.giveBack(view);
    if (!this.#target?.foreign) this.#loans.giveBack(view);
  }

  table(words: Uint32Array<ArrayBuffer>): BufferRange {
    const range = this.#blocks.table(words, this.#target?.foreign === true);
    this.tape?.table(words, range);
    return range;
  }

  copy(source: GPUBuffer, target: GPUBuffer, bytes: number): void {
    if (bytes === 0) return;
    this.tape?.copy(source, target, bytes);
    if (this.#target?.foreign) this.retired.share({ buffer: source }, { buffer: target });
    this.copies().copyBufferToBuffer(source, 0, target, 0, bytes);
    this.#listener?.("copy");
  }

  /** The encoder, outside of any pass, for copies. */
  copies(): GPUCommandEncoder {
    const target = this.#current();
    target.pass?.end();
    target.pass = null;
    return target.encoder;
  }

  /** Writes a timestamp between what was recorded before and what comes after. */
  stamp(querySet: GPUQuerySet, index: number): void {
    const timestampWrites = { querySet, endOfPassWriteIndex: index };
    this.copies().beginComputePass({ timestampWrites }).end();
  }

  /** Tells a listener the label of each dispatch and copy that `record` records, right behind it. */
  listen(listener: (step: string) => void, record: () => void): void {
    this.#listener = listener;
    try {
      record();
    } finally {
      this.#listener = null;
    }
  }

  /** Records something, and notes it on a tape. */
  taped<T>(tape: Tape, record: () => T): T {
    const outer = this.tape;
    this.tape = tape;
    try {
      return record();
    } finally {
      this.tape = outer;
    }
  }

  /** Records into an encoder that the caller submits. */
  redirect<T>(encoder: GPUCommandEncoder, record: () => T): T {
    this.submit();
    const outer = this.#target;
    if (outer !== null) this.copies();
    this.#target = newTarget(encoder, null);
    try {
      return record();
    } finally {
      this.copies();
      this.#target = outer;
      this.#groups.clear();
      this.#operators.clear();
    }
  }

  /** Takes the buffer of a freed tensor: a later result has it, or it is destroyed once no command needs it. */
  retire(buffer: GPUBuffer): void {
    if (this.#target?.foreign || this.retired.isShared(buffer)) this.#retire(buffer);
    else this.retired.addOfTensor(buffer, this.#target === null);
  }

  /** A buffer that was retired meanwhile, for what an operator computes: nobody writes it but commands. */
  reuse(bytes: number): GPUBuffer | undefined {
    const ordered = this.#recording !== null && !this.#target?.foreign;
    return ordered ? this.retired.take(bytes) : undefined;
  }

  /** Sends what was recorded to the device, and says whether there was something; returns at once. */
  submit(): boolean {
    const target = this.#target;
    if (target === null || target.foreign) return false;
    target.pass?.end();
    this.#target = null;
    this.#device.pushErrorScope("validation");
    this.#blocks.flush();
    this.#device.queue.submit([target.encoder.finish()]);
    const operators = [...this.#operators].join(", ") || "the copies";
    this.failures.judge(this.#submissions++, operators, this.#device.popErrorScope());
    this.#renew();
    this.#operators.clear();
    if (this.#recording !== null) this.#operators.add(this.#recording);
    return true;
  }

  /** Waits until the device has judged everything submitted; throws the first error it found. */
  async settled(): Promise<void> {
    await this.failures.settled();
    this.ensureAlive("the recorded work");
  }

  /** Number of the submission that takes what is recorded now. */
  get submission(): number {
    return this.#submissions;
  }

  /** Throws if the device is lost or the owner was disposed. */
  ensureAlive(name: string): void {
    if (this.#lost !== null) throw new DeviceError(name, this.#lost);
  }

  /** Ends everything; later calls throw. */
  dispose(): void {
    this.submit();
    this.#lost ??= "its Gpu was disposed";
    this.#blocks.dispose();
  }

  /** Ends a submission for what the next ones may use again; behind a failure, nothing is trusted to be valid. */
  #renew(): void {
    const failed = this.failures.found > this.#failures;
    this.#failures = this.failures.found;
    for (const kept of [this.#scratch, this.#groups, this.retired]) {
      if (failed) kept.clear();
      else kept.age();
    }
  }

  #retire(buffer: GPUBuffer): void {
    if (this.#target === null) buffer.destroy();
    else this.retired.add(buffer);
  }

  #current(): Target {
    this.#target ??= newTarget(this.#device.createCommandEncoder(), this.#launched);
    return this.#target;
  }

  #pass(): GPUComputePassEncoder {
    const target = this.#current();
    target.pass ??= target.encoder.beginComputePass();
    return target.pass;
  }
}
