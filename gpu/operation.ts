import type { Program, TexelFormat } from "./program.ts";

/** Part of a buffer; the whole of it where offset and size are absent. */
export interface BufferRange {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** First byte. */
  readonly offset?: number;
  /** Bytes. */
  readonly size?: number;
}

/** Texels of a buffer that follow one another: the number of the first, and how many. */
export type TexelRun = readonly [number, number];

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
  /** Copies texels from a buffer, run behind run, into a texture that is lent like scratch. */
  texture(source: GPUBuffer, runs: readonly TexelRun[], format: TexelFormat): GPUTextureView;
  /** Gives a texture back before the operator returns: it may lend it again. */
  giveBack(texture: GPUTextureView): void;
  /** Uploads a table of words for the launches of this operator. */
  table(words: Uint32Array<ArrayBuffer>): BufferRange;
  /** Copies the first bytes of a buffer into another one. */
  copy(source: GPUBuffer, target: GPUBuffer, bytes: number): void;
}
