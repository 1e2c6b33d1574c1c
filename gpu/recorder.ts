import { DeviceError, type ShaderError } from "./errors.ts";
import type { MemoryMeter } from "./memory.ts";
import type { PipelineCache } from "./pipeline.ts";
import { paramBytes, type Program, type TexelFormat, writeParams } from "./program.ts";
import { type Scratch, ScratchPool } from "./scratch.ts";

/** Part of a buffer; the whole of it where offset and size are absent. */
export interface BufferRange {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** First byte. */
  readonly offset?: number;
  /** Bytes. */
  readonly size?: number;
}

/** One dispatch: a program, what it binds by name, its parameters, and workgroups per axis. */
export interface Launch {
  /** What runs. */
  readonly program: Program;
  /** A buffer range or a texture for each binding. */
  readonly resources: Readonly<Record<string, BufferRange | GPUTextureView>>;
  /** A value for each field of the parameter block. */
  readonly params: Readonly<Record<string, number>>;
  /** Workgroups on x, y and z; a zero skips the launch. */
  readonly grid: readonly [number, number, number];
}

/** What an operator may do while it records. */
export interface Operation {
  /** Adds a dispatch. */
  launch(launch: Launch): void;
  /** Lends a buffer until the operator returns; later operators may reuse it. */
  scratch(bytes: number): BufferRange;
  /** Copies rows of texels from a buffer into a texture, lent like scratch. */
  texture(source: GPUBuffer, texels: number, format: TexelFormat): GPUTextureView;
  /** Uploads a table of words for the launches of this operator. */
  table(words: Uint32Array<ArrayBuffer>): BufferRange;
  /** Copies the first bytes of a buffer into another one. */
  copy(source: GPUBuffer, target: GPUBuffer, bytes: number): void;
}

/** Where commands go: the recorder's own encoder, or one that the caller submits. */
interface Target {
  readonly encoder: GPUCommandEncoder;
  pass: GPUComputePassEncoder | null;
  /** The caller submits it, at a time that the recorder does not learn. */
  readonly foreign: boolean;
}

const SLOT = 256;
const SLOTS = 256;

/** Records operators into one encoder and submits it when asked, or when it has grown. */
export class Recorder implements Operation {
  readonly #device: GPUDevice;
  readonly #pipelines: PipelineCache;
  readonly #scratch: ScratchPool;
  readonly #arena: GPUBuffer;
  readonly #staging: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(SLOT * SLOTS));
  readonly #failures: Set<Promise<Error | null>> = new Set();
  readonly #operators: Set<string> = new Set();
  #retired: GPUBuffer[] = [];
  #lent: Scratch[] = [];
  #tables: GPUBuffer[] = [];
  #target: Target | null = null;
  readonly #voided: Map<number, Error> = new Map();
  #submissions = 0;
  #slots = 0;
  #recording = false;
  #lost: string | null = null;

  /** Makes an empty recorder. */
  constructor(device: GPUDevice, pipelines: PipelineCache, meter: MemoryMeter) {
    this.#device = device;
    this.#pipelines = pipelines;
    this.#scratch = new ScratchPool(device, meter);
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.#arena = device.createBuffer({ label: "parameters", size: SLOT * SLOTS, usage });
    device.lost.then(({ message, reason }) => {
      this.#lost ??= `the GPU device was lost (${reason || "unknown"}): ${message}`;
    });
  }

  /** Records an operator; what the device finds wrong with it, or inside it, a later wait throws. */
  operation<T>(name: string, record: (operation: Operation) => T): T {
    if (this.#recording) return record(this);
    this.ensureAlive(name);
    this.#recording = true;
    this.#operators.add(name);
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    try {
      return record(this);
    } finally {
      this.#recording = false;
      for (let scope = 0; scope < 2; scope++) this.#watch(name, this.#device.popErrorScope());
      if (this.#target?.foreign) {
        this.#scratch.abandon(this.#lent);
      } else {
        this.#scratch.giveBack(this.#lent);
        for (const table of this.#tables) this.retire(table);
      }
      this.#lent = [];
      this.#tables = [];
    }
  }

  launch({ program, resources, params, grid }: Launch): void {
    if (grid.includes(0)) return;
    const { compute, layout } = this.#pipelines.get(program, (error) => this.#keep(error));
    const uniform = this.#parameters(program, params);
    const entries = program.bindings.map(({ name }, binding) => ({
      binding,
      resource: resources[name] as GPUBindingResource,
    }));
    const group = this.#device.createBindGroup({
      label: program.label,
      layout,
      entries: [...entries, { binding: entries.length, resource: uniform }],
    });
    const pass = this.#pass();
    pass.setPipeline(compute);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...grid);
  }

  scratch(bytes: number): BufferRange {
    const lent = this.#scratch.buffer(bytes);
    this.#lent.push(lent);
    return { buffer: lent.resource };
  }

  texture(source: GPUBuffer, texels: number, format: TexelFormat): GPUTextureView {
    const lent = this.#scratch.texture(texels, format);
    this.#lent.push(lent);
    lent.fill(this.copies(), source);
    return lent.resource.createView();
  }

  table(words: Uint32Array<ArrayBuffer>): BufferRange {
    const size = Math.max(16, words.byteLength);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ label: "table", size, usage });
    // Deno panics when an empty ArrayBuffer is written
    if (words.length > 0) this.#device.queue.writeBuffer(buffer, 0, words);
    this.#tables.push(buffer);
    return { buffer };
  }

  copy(source: GPUBuffer, target: GPUBuffer, bytes: number): void {
    if (bytes > 0) this.copies().copyBufferToBuffer(source, 0, target, 0, bytes);
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

  /** Records into an encoder that the caller submits. */
  redirect<T>(encoder: GPUCommandEncoder, record: () => T): T {
    this.submit();
    this.#target = { encoder, pass: null, foreign: true };
    try {
      const result = record();
      this.copies();
      return result;
    } finally {
      this.#target = null;
      this.#operators.clear();
    }
  }

  /** Destroys a buffer as soon as no recorded command needs it. */
  retire(buffer: GPUBuffer): void {
    if (this.#target === null) buffer.destroy();
    else this.#retired.push(buffer);
  }

  /** Sends what was recorded to the device; returns at once. */
  submit(): void {
    const target = this.#target;
    if (target === null || target.foreign) return;
    target.pass?.end();
    this.#target = null;
    this.#device.pushErrorScope("validation");
    this.#device.queue.writeBuffer(this.#arena, 0, this.#staging.buffer, 0, this.#slots * SLOT);
    this.#device.queue.submit([target.encoder.finish()]);
    this.#judge(this.#submissions++, [...this.#operators].join(", ") || "the copies");
    this.#scratch.clear();
    for (const buffer of this.#retired) buffer.destroy();
    this.#retired = [];
    this.#operators.clear();
    this.#slots = 0;
  }

  /** Waits until the device has judged everything submitted; throws the first error it found. */
  async settled(): Promise<void> {
    const found = await Promise.all(this.#failures);
    this.#failures.clear();
    const error = found.find((error) => error !== null);
    if (error) throw error;
    this.ensureAlive("the recorded work");
  }

  /** Number of the submission that takes what is recorded now. */
  get submission(): number {
    return this.#submissions;
  }

  /** Throws if a submission was refused, as a whole, by the device. */
  ensureComputed(submission: number | undefined): void {
    const failure = submission === undefined ? undefined : this.#voided.get(submission);
    if (failure !== undefined) throw failure;
  }

  /** Throws if the device is lost or the owner was disposed. */
  ensureAlive(name: string): void {
    if (this.#lost !== null) throw new DeviceError(name, this.#lost);
  }

  /** Ends everything; later calls throw. */
  dispose(): void {
    this.submit();
    this.#lost ??= "its Gpu was disposed";
    this.#arena.destroy();
  }

  #current(): Target {
    this.#target ??= { encoder: this.#device.createCommandEncoder(), pass: null, foreign: false };
    return this.#target;
  }

  #pass(): GPUComputePassEncoder {
    const target = this.#current();
    target.pass ??= target.encoder.beginComputePass();
    return target.pass;
  }

  /** Puts a parameter block where the shader will read it. */
  #parameters(program: Program, values: Readonly<Record<string, number>>): GPUBufferBinding {
    const size = paramBytes(program);
    if (this.#target?.foreign) {
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      const buffer = this.#device.createBuffer({ size, usage });
      const block = new ArrayBuffer(size);
      writeParams(new DataView(block), 0, program, values);
      this.#device.queue.writeBuffer(buffer, 0, block);
      return { buffer };
    }
    if (this.#slots === SLOTS) this.submit();
    const offset = this.#slots++ * SLOT;
    writeParams(this.#staging, offset, program, values);
    return { buffer: this.#arena, offset, size };
  }

  /** Pops the scope of a submission: an error in it voids all that the submission would compute. */
  #judge(submission: number, operators: string): void {
    this.#keep(
      this.#device.popErrorScope().then((error) => {
        if (error === null) return null;
        const failure = new DeviceError(operators, error.message);
        this.#voided.set(submission, failure);
        return failure;
      }),
    );
  }

  #watch(operator: string, scope: Promise<GPUError | null>): void {
    this.#keep(scope.then((error) => error && new DeviceError(operator, error.message)));
  }

  #keep(failure: Promise<DeviceError | ShaderError | null>): void {
    this.#failures.add(failure);
    failure.then((error) => error === null && this.#failures.delete(failure));
  }
}
