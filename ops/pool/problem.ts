import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { PoolKind } from "../../kernels/pool/config.ts";
import { oneOf } from "../options.ts";
import { chunksOf, type Segment, sequencesOf } from "../segments.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options of {@linkcode poolTokens}. */
export interface PoolOptions {
  /** How many consecutive tokens make a block. */
  block: number;
  /**
   * What a block becomes: its mean, maximum or minimum by channel, its first or last token, or with
   * `"attention"` Σ_t softmax(weights)_t x_t over its tokens.
   */
  kind: PoolKind;
  /**
   * The logits of `"attention"`, f32 or f16 `[B, T, H]`; a block whose logits are all −∞ becomes 0.
   */
  weights?: Tensor;
  /**
   * Cuts the tokens of a batch of 1 into N sequences, i32 `[N + 1]`: sequence n is the tokens
   * cuSeqlens[n] <= t < cuSeqlens[n + 1]. Each begins with a block of its own; an empty one has none.
   */
  cuSeqlens?: Tensor;
}

/** What pooling is to compute, validated; no tensors and no GPU. */
export interface PoolProblem {
  readonly batch: number;
  readonly heads: number;
  readonly dim: number;
  readonly kind: PoolKind;
  /** Most tokens of a block. */
  readonly block: number;
  readonly elem: "f32" | "f16";
  readonly weightElem: "f32" | "f16" | null;
  /** The tokens of each block, counted over all batch entries. */
  readonly blocks: readonly Segment[];
}

const ACTION = "pool tokens";
const OPTIONS: readonly string[] = ["block", "kind", "weights", "cuSeqlens"];
const KINDS: readonly PoolKind[] = ["mean", "max", "min", "first", "last", "attention"];

/** Validates the arguments of pooling. */
export function poolProblem(x: Tensor, options: PoolOptions): { problem: PoolProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { block, kind, weights, cuSeqlens } = options;
  const optional = Object.entries({ weights, cuSeqlens }).filter(([, t]) => t !== undefined);
  const gpu = checkTensors(ACTION, { x, ...Object.fromEntries(optional) });
  const elem = checkDType(ACTION, "x", x, ["f32", "f16"]);
  checkRank(ACTION, "x", x, ["B", "T", "H", "D"]);
  const [batch, length, heads, dim] = x.shape;
  if (!(Number.isSafeInteger(block) && block >= 1)) {
    throw new RangeError(
      `Cannot ${ACTION} as block must be an integer >= 1: block is ${kindOf(block)}`,
    );
  }
  oneOf(ACTION, "kind", kind, KINDS);
  if ((weights !== undefined) !== (kind === "attention")) {
    throw new TypeError(
      `Cannot ${ACTION} as weights belong to the kind "attention": kind is "${kind}", weights ${
        weights === undefined ? "is undefined" : "is given"
      }`,
    );
  }
  const weightElem = weights && checkDType(ACTION, "weights", weights, ["f32", "f16"]);
  if (weights !== undefined) checkShape(ACTION, "weights", weights, [batch, length, heads]);
  const sequences = sequencesOf(boundsOf(ACTION, batch, length, cuSeqlens));
  const { chunks } = chunksOf(sequences, { chunkSize: block, reverse: false });
  return {
    problem: {
      ...{ batch, heads, dim, kind, block, elem },
      weightElem: weightElem ?? null,
      blocks: chunks ?? [],
    },
    gpu,
  };
}
