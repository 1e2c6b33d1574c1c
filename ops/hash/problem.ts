import type { Gpu } from "../../gpu/device.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { SCORED_TOKENS } from "../../kernels/centroids/config.ts";
import type { HashKind } from "../../kernels/hash/codes.ts";
import { checkScored, entriesOfLaunch, type ScoreProblem } from "../centroids/scores.ts";
import { oneOf } from "../options.ts";

/** Options of {@linkcode hashTokens}. */
export interface HashTokensOptions {
  /**
   * What of the products x·p_r with R planes is the code: the place of their R signs on a walk that
   * changes one of them at a time, or which of the 2R directions p_r and −p_r has the largest.
   *
   * @default {"hyperplane"}
   */
  kind?: "hyperplane" | "crossPolytope";
}

/** What is hashed, validated; no tensors and no GPU. */
export interface HashProblem extends ScoreProblem {
  readonly kind: HashKind;
}

/** Signs that an i32 holds which is not negative. */
const MOST_SIGNS = 31;

const ACTION = "hash tokens";
const NAMES = { action: ACTION, name: "planes", one: "plane", letter: "R" };

/** Validates the arguments of hashing. */
export function hashProblem(
  x: Tensor,
  planes: Tensor,
  options: HashTokensOptions,
): { problem: HashProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, ["kind"]);
  const { sizes, gpu } = checkScored(NAMES, x, planes);
  const { kind = "hyperplane" } = options;
  oneOf(ACTION, "kind", kind, ["hyperplane", "crossPolytope"]);
  if (kind === "hyperplane" && sizes.count > MOST_SIGNS) {
    throw new RangeError(
      `Cannot ${ACTION} as a code must have at most ${MOST_SIGNS} signs: planes is [${planes.shape}]`,
    );
  }
  return { problem: { ...sizes, metric: "dot", kind }, gpu };
}

/** Chooses how many batch entries are hashed together. */
export function planHash(problem: HashProblem, limits: GpuLimits): number {
  const { batch, length, heads, dim, count } = problem;
  const most = entriesOfLaunch(problem, limits);
  const tiles = Math.ceil(length / SCORED_TOKENS);
  const fits = most >= 1 && tiles <= limits.maxComputeWorkgroupsPerDimension &&
    count <= 0.9 * limits.maxLoopIterations;
  if (batch * length * heads > 0 && !fits) {
    throw new RangeError(
      `Cannot plan hashes as a batch entry and its products must fit one binding: there are ${length} tokens, ${heads} heads, ${dim} channels and ${count} planes, the device allows ${limits.maxStorageBufferBindingSize} bytes`,
    );
  }
  return Math.max(1, most);
}
