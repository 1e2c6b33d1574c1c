import { ShaderError } from "./errors.ts";
import type { Binding, Program, TexelFormat } from "./program.ts";

/** A compiled program. */
export interface Pipeline {
  /** What a pass sets. */
  readonly compute: GPUComputePipeline;
  /** The layout of its one bind group. */
  readonly layout: GPUBindGroupLayout;
}

/** What a pipeline is made from. */
interface Description {
  readonly layout: GPUBindGroupLayout;
  readonly descriptor: GPUComputePipelineDescriptor;
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
  readonly #loading: Map<string, Promise<Pipeline>> = new Map();

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

  /** Whether a program is compiled. */
  has(program: Program): boolean {
    return this.#compiled.has(program.code);
  }

  /**
   * Returns the pipeline of a program, compiling it the first time without blocking where the runtime
   * can.
   *
   * @throws ShaderError if the compiler refuses the text
   */
  async load(program: Program): Promise<Pipeline> {
    const { code } = program;
    const found = this.#compiled.get(code) ?? this.#loading.get(code);
    if (found !== undefined) return await found;
    const loading = this.#compileAsync(program);
    this.#loading.set(code, loading);
    try {
      const pipeline = await loading;
      this.#compiled.set(code, pipeline);
      return pipeline;
    } finally {
      this.#loading.delete(code);
    }
  }

  async #compileAsync(program: Program): Promise<Pipeline> {
    this.#device.pushErrorScope("validation");
    const { layout, descriptor } = this.#describe(program);
    const compiling = this.#device.createComputePipelineAsync(descriptor);
    const scope = this.#device.popErrorScope();
    try {
      return { compute: await compiling, layout };
    } catch (error) {
      // the scope tells what is wrong with the text, the rejection only that it is invalid
      throw this.#refusal(program, await scope ?? error as Error);
    }
  }

  #compile(program: Program, failed: (error: Promise<ShaderError | null>) => void): Pipeline {
    this.#device.pushErrorScope("validation");
    const { layout, descriptor } = this.#describe(program);
    const compute = this.#device.createComputePipeline(descriptor);
    failed(
      this.#device.popErrorScope().then((error) => {
        if (error === null) return null;
        this.#compiled.delete(program.code);
        return this.#refusal(program, error);
      }),
    );
    return { compute, layout };
  }

  #describe(program: Program): Description {
    const { label } = program;
    const code = this.#codeOf(program);
    const layout = this.#device.createBindGroupLayout({ label, entries: layoutEntries(program) });
    const descriptor = {
      label,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: this.#device.createShaderModule({ label, code }), entryPoint: "main" },
    };
    return { layout, descriptor };
  }

  #codeOf({ code, subgroups }: Program): string {
    return subgroups && this.#options.subgroupDirective ? `enable subgroups;\n${code}` : code;
  }

  #refusal(program: Program, { message }: { readonly message: string }): ShaderError {
    return new ShaderError(program.label, message, this.#codeOf(program));
  }
}

function layoutEntries({ bindings }: Program): GPUBindGroupLayoutEntry[] {
  const visibility = GPUShaderStage.COMPUTE;
  const resources = bindings.map((binding, index) => ({
    binding: index,
    visibility,
    ...resourceLayout(binding),
  }));
  const buffer = { type: "uniform", hasDynamicOffset: true } as const;
  return [...resources, { binding: bindings.length, visibility, buffer }];
}

function resourceLayout(binding: Binding): Partial<GPUBindGroupLayoutEntry> {
  if (binding.access === "texture") {
    return { storageTexture: { access: "read-only", format: texelFormat(binding) } };
  }
  return { buffer: { type: binding.access === "read" ? "read-only-storage" : "storage" } };
}

/** The texels of a binding that is a texture. */
export function texelFormat({ type }: Binding): TexelFormat {
  return /<(\w+),/.exec(type)?.[1] as TexelFormat;
}
