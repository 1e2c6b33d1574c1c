import type { Launch } from "./operation.ts";
import type { Pipeline } from "./pipeline.ts";
import { paramBytes, type Program, writeParams } from "./program.ts";
import { PATIENCE } from "./spare.ts";

/** Where a parameter block is. */
export interface Block {
  readonly buffer: GPUBuffer;
  /** First byte, which is told when a group is set. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** A parameter block in a buffer of its own, which is the caller's to destroy. */
export function ownBlock(
  device: GPUDevice,
  program: Program,
  values: Readonly<Record<string, number>>,
): Block {
  const size = paramBytes(program);
  const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ label: "parameters", size, usage });
  const block = new ArrayBuffer(size);
  writeParams(new DataView(block), 0, program, values);
  device.queue.writeBuffer(buffer, 0, block);
  return { buffer, offset: 0, size };
}

/** What a launch binds. */
interface Bound extends Pick<Launch, "program" | "resources"> {
  readonly layout: GPUBindGroupLayout;
  readonly block: Block;
}

/** A bind group, and the submission that last used it. */
interface Known {
  readonly group: GPUBindGroup;
  used: number;
}

/** Bind groups: launches that bind the same memory share one, for they are dear. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #groups: Map<string, Known> = new Map();
  /** Of layouts, buffers and textures. */
  readonly #numbers: WeakMap<object, number> = new WeakMap();
  #count = 0;
  #now = 0;
  readonly #offset: Uint32Array<ArrayBuffer> = new Uint32Array(1);

  /** Makes an empty collection. */
  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Adds a launch to a pass. */
  dispatch(
    pass: GPUComputePassEncoder,
    { compute, layout }: Pipeline,
    { program, resources, grid }: Launch,
    block: Block,
  ): void {
    pass.setPipeline(compute);
    this.#offset[0] = block.offset; // a list would be read four times as slowly
    pass.setBindGroup(0, this.#find({ program, resources, layout, block }), this.#offset, 0, 1);
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  }

  /** Forgets all of them, and the memory that they bind. */
  clear(): void {
    this.#groups.clear();
  }

  /** Ends a submission: forgets those that were not used for long. */
  age(): void {
    this.#now++;
    for (const [key, { used }] of this.#groups) {
      if (this.#now - used > PATIENCE) this.#groups.delete(key);
    }
  }

  /** The group of a launch, made the first time. */
  #find(bound: Bound): GPUBindGroup {
    const key = this.#keyOf(bound);
    let known = this.#groups.get(key);
    if (known === undefined) {
      known = { group: this.#create(bound), used: this.#now };
      this.#groups.set(key, known);
    }
    known.used = this.#now;
    return known.group;
  }

  #keyOf({ program: { bindings }, resources, layout, block }: Bound): string {
    let key = `${this.#numberOf(layout)} ${this.#numberOf(block.buffer)}`;
    for (let binding = 0; binding < bindings.length; binding++) {
      const resource = resources[bindings[binding].name];
      key += resource !== undefined && "buffer" in resource
        ? ` ${this.#numberOf(resource.buffer)}+${resource.offset}:${resource.size}`
        : ` ${this.#numberOf(resource)}`;
    }
    return key;
  }

  #create({ program: { label, bindings }, resources, layout, block }: Bound): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = [];
    for (let binding = 0; binding < bindings.length; binding++) {
      entries.push({ binding, resource: resources[bindings[binding].name] as GPUBindingResource });
    }
    const { buffer, size } = block;
    entries.push({ binding: bindings.length, resource: { buffer, size } });
    return this.#device.createBindGroup({ label, layout, entries });
  }

  #numberOf(memory: object): number {
    let number = this.#numbers.get(memory);
    if (number === undefined) {
      number = this.#count++;
      this.#numbers.set(memory, number);
    }
    return number;
  }
}
