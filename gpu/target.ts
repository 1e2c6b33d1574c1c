/** Where commands go: the recorder's own encoder, or one that the caller submits. */
export interface Target {
  /** Takes them. */
  readonly encoder: GPUCommandEncoder;
  /** The pass that is open. */
  pass: GPUComputePassEncoder | null;
  /** The caller submits it, at a time that the recorder does not learn. */
  readonly foreign: boolean;
}
