import type { Gpu } from "../../gpu/device.ts";
import { elementBytes, volume } from "../../gpu/dtype.ts";
import { UnsupportedDeviceError } from "../../gpu/errors.ts";
import type { Operation } from "../../gpu/recorder.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  HEDGEHOG_TOKENS,
  type HedgehogConfig,
  hedgehogFeatures,
} from "../../kernels/recurrence/hedgehog.ts";
import { HEDGEHOG_LANES, hedgehogByLanes } from "../../kernels/recurrence/hedgehog_lanes.ts";
import { aligned } from "../../kernels/shared/rows.ts";
import { boundRows } from "../attention/bind.ts";
import { checkElem } from "../attention/sizes.ts";
import { lanesOf } from "../lanes.ts";
import { lent } from "../lent.ts";
import { once } from "../once.ts";
import { checkDims, checkDType, checkShared, checkTensors } from "../tensors.ts";
import { tokenTextures } from "../token_textures.ts";
import { checkRows } from "./checks.ts";

/** The features of queries and keys that a call needs, validated. */
export interface HedgehogProblem {
  readonly config: HedgehogConfig;
  /** H, weights of all heads of the queries or keys; 1 where there are none. */
  readonly matrices: number;
  /** Whether keys have weights of their own, behind those of the queries. */
  readonly sided: boolean;
}

/** The tensors of one call. */
export interface HedgehogTensors<T extends "f32" | "f16"> {
  /** `[B, T, HQ, D]` */
  readonly q: Tensor<T>;
  /** `[B, T, HK, D]` */
  readonly k: Tensor<T>;
  readonly v: Tensor<T>;
  /** W, the unit matrix where it is undefined. */
  readonly weights: Tensor | undefined;
}

/** Validates what features are made of; the engine judges the rest of a call. */
export function hedgehogProblem<T extends "f32" | "f16">(
  action: string,
  { q, k, v, weights }: HedgehogTensors<T>,
): { problem: HedgehogProblem; gpu: Gpu } {
  const named = weights === undefined ? {} : { hedgehogWeights: weights };
  const gpu = checkTensors(action, { q, k, v, ...named });
  checkRows(action, { q, k, v });
  const [dim, kDim] = [q.shape[3], k.shape[3]];
  checkShared(action, "a key dim", { q: dim, k: kDim });
  checkDims(action, { "key dim of q and k": dim });
  const elem = checkElem(action, { q, k, v });
  const form = weights === undefined
    ? { outputs: dim, weights: null, matrices: 1, sided: false }
    : weightsOf(action, weights, dim);
  const { outputs, matrices, sided } = form;
  checkDims(action, { "number of features of q and k": 2 * outputs });
  const heads = { q: q.shape[2], k: k.shape[2] };
  if (Object.values(heads).some((own) => own % matrices !== 0)) {
    throw new TypeError(
      `Cannot ${action} as the heads of hedgehogWeights must divide those of q and k: current heads are hedgehogWeights=${matrices}, q=${heads.q}, k=${heads.k}`,
    );
  }
  for (const [name, tensor] of Object.entries({ q, k })) {
    checkBytes(action, name, [...tensor.shape.slice(0, -1), 2 * outputs], elem, gpu.limits);
  }
  return {
    problem: { config: { elem, dim, outputs, weights: form.weights }, matrices, sided },
    gpu,
  };
}

/** What the shape and the dtype of W say. */
function weightsOf(action: string, weights: Tensor, dim: number) {
  const elem = checkDType(action, "hedgehogWeights", weights, ["f32", "f16"]);
  const { shape } = weights;
  const [outputs, columns] = shape.slice(-2);
  const matrices = shape.length > 2 ? shape[shape.length - 3] : 1;
  const fits = shape.length >= 2 && shape.length <= 4 && matrices >= 1 &&
    (shape.length < 4 || shape[0] === 2) && (columns === dim || columns === dim + 1);
  if (fits) {
    return {
      ...{ outputs, matrices, sided: shape.length === 4 },
      weights: { elem, bias: columns > dim },
    };
  }
  throw new TypeError(
    `Cannot ${action} as hedgehogWeights must be [F, D], [H, F, D] or [2, H, F, D] with D = ${dim}, or ${
      dim + 1
    } with a bias: hedgehogWeights is [${shape}]`,
  );
}

function checkBytes(
  action: string,
  name: string,
  shape: readonly number[],
  elem: "f32" | "f16",
  { maxBufferSize }: GpuLimits,
): void {
  const bytes = volume(shape) * elementBytes(elem);
  if (bytes <= maxBufferSize) return;
  throw new UnsupportedDeviceError(
    `Cannot ${action} as the features of ${name} must fit one buffer: [${shape}] of ${elem} takes ${bytes} bytes, the device allows ${maxBufferSize}`,
    { requirement: "maxBufferSize", needed: bytes, available: maxBufferSize },
  );
}

const programs = { rows: once(hedgehogFeatures), lanes: once(hedgehogByLanes) };

/** Records φ of queries and keys, `[B, T, HQ, 2F]` and `[B, T, HK, 2F]`, in lent tensors. */
export function launchHedgehog<T extends "f32" | "f16">(
  operation: Operation,
  gpu: Gpu,
  problem: HedgehogProblem,
  { q, k, weights }: HedgehogTensors<T>,
): [Tensor<T>, Tensor<T>] {
  const { matrices, sided } = problem;
  return [
    launchSide(operation, gpu, problem, { x: q, weights, matrix0: 0 }),
    launchSide(operation, gpu, problem, { x: k, weights, matrix0: sided ? matrices : 0 }),
  ];
}

/** Queries or keys, and the first of their weights. */
interface Side<T extends "f32" | "f16"> {
  readonly x: Tensor<T>;
  readonly weights: Tensor | undefined;
  readonly matrix0: number;
}

/** Records the features of one tensor, in as many launches as limits ask for. */
function launchSide<T extends "f32" | "f16">(
  operation: Operation,
  gpu: Gpu,
  { config, matrices }: HedgehogProblem,
  { x, weights, matrix0 }: Side<T>,
): Tensor<T> {
  const { dim, outputs } = config;
  const width = 2 * outputs;
  const [batch, length, heads] = x.shape;
  const shape = [batch, length, heads, width];
  const features = lent(operation, gpu, shape, x.dtype);
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const matrixRows = [matrix0 * outputs, (matrix0 + matrices) * outputs] as const;
  const bound = weights && boundRows(weights, matrixRows, weights.shape.at(-1) ?? 0, alignment);
  const textures = sideTextures(operation, gpu, config, { x, weights });
  const lanes = lanesOf(gpu.features, HEDGEHOG_LANES);
  const [program, tokens] = textures.x
    ? [programs.lanes({ ...config, lanes }), HEDGEHOG_LANES]
    : [programs.rows(config), HEDGEHOG_TOKENS];
  const rowBytes = Math.max(dim, width) * elementBytes(x.dtype);
  const step = tokensOfLaunch(rowBytes, heads, gpu.limits);
  for (let token0 = 0; token0 < batch * length; token0 += step) {
    const token1 = Math.min(batch * length, token0 + step);
    const [from, to] = [{ tensor: x, width: dim }, { tensor: features, width }].map((rows) =>
      boundRows(rows.tensor, [token0 * heads, token1 * heads], rows.width, alignment)
    );
    operation.launch({
      program,
      resources: {
        ...{ x: from.resource, features: to.resource },
        ...(bound && { weights: bound.resource }),
        ...textures,
      },
      params: {
        ...{ token0, token1, heads, matrices, matrix0 },
        ...{ xFirst: from.first, featuresFirst: to.first, weightsFirst: bound?.first ?? 0 },
      },
      grid: [Math.ceil((token1 - token0) / tokens), heads, 1],
    });
  }
  return features;
}

/** Copies rows and weights into textures, where a driver reads those faster and rows are whole vec4s. */
function sideTextures(
  operation: Operation,
  gpu: Gpu,
  { dim, outputs }: HedgehogConfig,
  { x, weights }: Pick<Side<"f32" | "f16">, "x" | "weights">,
): Record<string, GPUTextureView> {
  if (!aligned(dim) || !aligned(outputs)) return {};
  return tokenTextures(operation, gpu, {
    x: { tensor: x, width: dim },
    ...(weights && { weights: { tensor: weights, width: weights.shape.at(-1) ?? 0 } }),
  });
}

/** Tokens whose rows a binding holds, whatever it is aligned to, and a grid reaches. */
function tokensOfLaunch(rowBytes: number, heads: number, limits: GpuLimits): number {
  const { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment } = limits;
  const bound = Math.floor((largest / rowBytes - minStorageBufferOffsetAlignment) / heads);
  return Math.max(1, Math.min(bound, limits.maxComputeWorkgroupsPerDimension * HEDGEHOG_TOKENS));
}
