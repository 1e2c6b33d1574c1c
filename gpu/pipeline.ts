import { ShaderError } from "./errors.ts";
import type { Binding, Program, TexelFormat } from "./program.ts";

/** A compiled program. */
export interface Pipeline {
  /** What a pass sets. */
  readonly compute: GPUComputePipeline;
  /** The layout of its one bind group. */
  readonly layout: GPUBindGroupLayout;
}

/** What the compiler must know about the runtime. */
export interface CompilerOptions {
  /** Prepended to programs that use subgroups. */
  readonly subgroupDirective: boolean;
}

/** Compiles programs once; two programs with the same text share a pipeline. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #options: CompilerOptions;
  readonly #compiled: Map<string, Pipeline> = new Map();

  /** Makes an empty cache. */
  constructor(device: GPUDevice, options: CompilerOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** Pipelines compiled so far. */
  get size(): number {
    return this.#compiled.size;
  }

  /**
   * Returns the pipeline of a program, compiling it the first time.
   *
   * @param failed receives the error, later, if the compiler refuses the text
   */
  get(program: Program, failed: (error: Promise<ShaderError | null>) => void): Pipeline {
    const found = this.#compiled.get(program.code);
    if (found !== undefined) return found;
    const pipeline = this.#compile(program, failed);
    this.#compiled.set(program.code, pipeline);
    return pipeline;
  }

  #compile(program: Program, failed: (error: Promise<ShaderError | null>) => void): Pipeline {
    const { label } = program;
    const enable = program.subgroups && this.#options.subgroupDirective
      ? "enable subgroups;\n"
      : "";
    const code = enable + program.code;
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label, code });
    const layout = this.#device.createBindGroupLayout({ label, entries: layoutEntries(program) });
    const compute = this.#device.createComputePipeline({
      label,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    failed(
      this.#device.popErrorScope().then((error) => {
        if (error === null) return null;
        this.#compiled.delete(program.code);
        return new ShaderError(label, error.message, code);
      }),
    );
    return { compute, layout };
  }
}

function layoutEntries({ bindings }: Program): GPUBindGroupLayoutEntry[] {
  const visibility = GPUShaderStage.COMPUTE;
  const resources = bindings.map((binding, index) => ({
    binding: index,
    visibility,
    ...resourceLayout(binding),
  }));
  return [...resources, { binding: bindings.length, visibility, buffer: { type: "uniform" } }];
}

function resourceLayout({ access, type }: Binding): Partial<GPUBindGroupLayoutEntry> {
  if (access === "texture") {
    const format: TexelFormat = type.includes("rgba32float") ? "rgba32float" : "rg32uint";
    return { storageTexture: { access: "read-only", format } };
  }
  return { buffer: { type: access === "read" ? "read-only-storage" : "storage" } };
}
