import type { Gpu } from "./device.ts";
import type { DType } from "./dtype.ts";
import type { BufferRange, Launch, Operation, TexelRun } from "./operation.ts";
import type { TexelFormat } from "./program.ts";
import { record } from "./runtime.ts";
import { Tensor } from "./tensor.ts";

/** Bytes of tables, and of runs of texels, that weigh as much as a call without any. */
const TABLE_BYTES = 65_536;
/** Bytes that a run of texels is held in. */
const RUN_BYTES = 48;

/** What a launch binds: memory by its number, whole or from a byte on. */
interface BoundMemory {
  readonly name: string;
  readonly number: number;
  /** Part of a buffer; null where the memory is bound as it is: a texture, or a table. */
  readonly range: Pick<BufferRange, "offset" | "size"> | null;
}

/** What an operator recorded, with memory by its number. */
type Step =
  | { readonly kind: "launch"; readonly launch: Launch; readonly bound: readonly BoundMemory[] }
  | { readonly kind: "scratch"; readonly bytes: number }
  | { readonly kind: "giveBack"; readonly texture: number }
  | { readonly kind: "table"; readonly words: Uint32Array<ArrayBuffer> }
  | {
    readonly kind: "texture";
    readonly source: number;
    readonly runs: readonly TexelRun[];
    readonly format: TexelFormat;
  }
  | {
    readonly kind: "copy";
    readonly source: number;
    readonly target: number;
    readonly bytes: number;
  }
  | { readonly kind: "empty"; readonly shape: readonly number[]; readonly dtype: DType }
  | { readonly kind: "dispose"; readonly tensor: number };

/** Steps between two ends of operators, or of one operator. */
interface Part {
  readonly operator: string | null;
  readonly steps: Step[];
}

/** A result with tensors by their numbers. */
type Form =
  | { readonly kind: "tensor"; readonly tensor: number }
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "record"; readonly fields: readonly (readonly [string, Form])[] };

/** Memory that has a number. */
type Memory = GPUBuffer | BufferRange | GPUTextureView;

/** Tensors and buffers of a call. */
export interface Given {
  readonly tensors: readonly Tensor[];
  readonly buffers: readonly GPUBuffer[];
}

/**
 * What one call recorded and returned, to be recorded again with other tensors. It keeps none: memory has
 * numbers, first that of the arguments, then what was asked for, in order.
 */
export class Tape {
  readonly #parts: Part[] = [];
  #part: Part = { operator: null, steps: [] };
  #numbers: Map<object, number> = new Map();
  #count = 0;
  #tensors: Tensor[];
  #result: Form | null = null;
  #whole = true;
  #tableBytes = 0;

  /** Starts a tape. */
  constructor({ tensors, buffers }: Given) {
    this.#tensors = [...tensors];
    buffers.forEach((buffer) => this.#number(buffer));
  }

  /** Notes that an operator begins, or ends: null. */
  operator(name: string | null): void {
    if (this.#part.steps.length > 0) this.#parts.push(this.#part);
    this.#part = { operator: name, steps: [] };
  }

  /** Notes a dispatch. */
  launch(launch: Launch): void {
    const bound = launch.program.bindings.map(({ name }) => this.#bound(name, launch));
    this.#note({ kind: "launch", launch: { ...launch, resources: {} }, bound });
  }

  /** Notes memory that is lent. */
  scratch(bytes: number, { buffer }: BufferRange): void {
    this.#note({ kind: "scratch", bytes }, buffer);
  }

  /** Notes a texture and what is copied into it. */
  texture(
    source: GPUBuffer,
    { runs, format }: { readonly runs: readonly TexelRun[]; readonly format: TexelFormat },
    view: GPUTextureView,
  ): void {
    this.#tableBytes += RUN_BYTES * runs.length;
    this.#note({ kind: "texture", source: this.#numberOf(source), runs, format }, view);
  }

  /** Notes that a texture is given back. */
  giveBack(view: GPUTextureView): void {
    this.#note({ kind: "giveBack", texture: this.#numberOf(view) });
  }

  /** Notes a table. */
  table(words: Uint32Array<ArrayBuffer>, range: BufferRange): void {
    this.#tableBytes += words.byteLength;
    this.#note({ kind: "table", words }, range);
  }

  /** Notes a copy. */
  copy(source: GPUBuffer, target: GPUBuffer, bytes: number): void {
    const numbers = { source: this.#numberOf(source), target: this.#numberOf(target) };
    this.#note({ kind: "copy", ...numbers, bytes });
  }

  /** Notes a new tensor without contents. */
  empty(tensor: Tensor): void {
    const { shape, dtype } = tensor;
    this.#tensors.push(tensor);
    this.#note({ kind: "empty", shape, dtype }, tensor.buffer);
  }

  /** Notes that a tensor which was made meanwhile is freed. */
  dispose(tensor: Tensor): void {
    const number = this.#tensors.indexOf(tensor);
    if (number >= 0) this.#note({ kind: "dispose", tensor: number });
  }

  /** Notes what cannot be done again. */
  spoil(): void {
    this.#whole = false;
  }

  /** How much it holds: 1, and what its tables add. */
  get weight(): number {
    return 1 + this.#tableBytes / TABLE_BYTES;
  }

  /** Ends the tape, which forgets all tensors and buffers; returns whether it can be played. */
  end(result: unknown): boolean {
    this.operator(null);
    this.#result = this.#form(result);
    this.#numbers = new Map();
    this.#tensors = [];
    return this.#whole;
  }

  /** Records all of it again with other arguments, and returns what the call would. */
  play(gpu: Gpu, given: Given): unknown {
    const memory: Memory[] = given.buffers.slice();
    const tensors = given.tensors.slice();
    for (const { operator, steps } of this.#parts) {
      const part = (operation: Operation | null): void => {
        for (const step of steps) playStep(step, { gpu, operation, memory, tensors });
      };
      if (operator === null) part(null);
      else record(gpu, operator, part);
    }
    return this.#result && resultOf(this.#result, tensors);
  }

  #note(step: Step, memory?: object): void {
    const { operator, steps } = this.#part;
    // inside an operator that the tape did not see begin
    if (operator === null && step.kind !== "empty" && step.kind !== "dispose") this.spoil();
    steps.push(step);
    if (memory !== undefined) this.#number(memory);
  }

  #number(memory: object): void {
    // what one operator gave back may be lent again, under a new number
    this.#numbers.set(memory, this.#count++);
  }

  #numberOf(memory: object): number {
    const number = this.#numbers.get(memory);
    // neither an argument nor asked for: it cannot be found again
    if (number === undefined) this.spoil();
    return number ?? 0;
  }

  #bound(name: string, { resources }: Launch): BoundMemory {
    const resource = resources[name];
    const whole = this.#numbers.get(resource);
    if (whole !== undefined) return { name, number: whole, range: null };
    const { buffer, offset, size } = resource as BufferRange;
    const range = { ...(offset !== undefined && { offset }), ...(size !== undefined && { size }) };
    return { name, number: this.#numberOf(buffer), range };
  }

  #form(value: unknown): Form {
    if (typeof value !== "object" || value === null) return { kind: "value", value };
    if (value instanceof Tensor) {
      const tensor = this.#tensors.indexOf(value);
      if (tensor < 0) this.spoil();
      return { kind: "tensor", tensor };
    }
    if (Object.getPrototypeOf(value) !== Object.prototype) this.spoil();
    const fields = Object.entries(value).map(([name, field]) => [name, this.#form(field)] as const);
    return { kind: "record", fields };
  }
}

/** Where steps are played. */
interface Player {
  readonly gpu: Gpu;
  /** What was recorded outside of operators needs none. */
  readonly operation: Operation | null;
  readonly memory: Memory[];
  readonly tensors: Tensor[];
}

function playStep(step: Step, { gpu, operation, memory, tensors }: Player): void {
  if (step.kind === "empty") {
    const tensor = gpu.empty(step.shape, step.dtype);
    tensors.push(tensor);
    memory.push(tensor.buffer);
  } else if (step.kind === "dispose") {
    tensors[step.tensor].dispose();
  } else if (operation !== null) {
    playOperation(step, operation, memory);
  }
}

function playOperation(
  step: Exclude<Step, { kind: "empty" | "dispose" }>,
  operation: Operation,
  memory: Memory[],
): void {
  const buffer = (number: number): GPUBuffer => memory[number] as GPUBuffer;
  switch (step.kind) {
    case "launch":
      operation.launch({ ...step.launch, resources: resourcesOf(step.bound, memory) });
      break;
    case "scratch":
      memory.push(operation.scratch(step.bytes).buffer);
      break;
    case "table":
      memory.push(operation.table(step.words));
      break;
    case "texture":
      memory.push(operation.texture(buffer(step.source), step.runs, step.format));
      break;
    case "giveBack":
      operation.giveBack(memory[step.texture] as GPUTextureView);
      break;
    case "copy":
      operation.copy(buffer(step.source), buffer(step.target), step.bytes);
  }
}

function resourcesOf(
  bound: readonly BoundMemory[],
  memory: readonly Memory[],
): Launch["resources"] {
  const resources: Record<string, BufferRange | GPUTextureView> = {};
  for (const { name, number, range } of bound) {
    resources[name] = range === null
      ? memory[number] as BufferRange | GPUTextureView
      : { ...range, buffer: memory[number] as GPUBuffer };
  }
  return resources;
}

function resultOf(form: Form, tensors: readonly Tensor[]): unknown {
  if (form.kind === "tensor") return tensors[form.tensor];
  if (form.kind === "value") return form.value;
  const result: Record<string, unknown> = {};
  for (const [name, field] of form.fields) result[name] = resultOf(field, tensors);
  return result;
}
