import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { WeightRule } from "../../kernels/attention/weights.ts";
import { checkHooks } from "../attention/hooks.ts";
import { checkFlags } from "../options.ts";
import { checkDType, checkTensors } from "../tensors.ts";
import {
  checkCoefficients,
  type Coefficient,
  coefficientOf,
  NO_COEFFICIENT,
} from "./coefficients.ts";
import type { MergeOptions, WeighedPart } from "./options.ts";

/** What is merged, validated. */
export interface MergeProblem {
  /** All axes of the outputs but the last, flattened. */
  readonly rows: number;
  readonly heads: number;
  readonly valueDim: number;
  readonly elem: "f32" | "f16";
  /** How parts count; `plain` where coefficients alone say it. */
  readonly rule: WeightRule;
  /** Whether coefficients multiply weights before these are divided by their sum. */
  readonly renormalize: boolean;
}

/** A part as it is merged. */
export interface MergePart {
  readonly out: Tensor;
  /** lse, or what the weights have in its place; null where outputs just add. */
  readonly aux: Tensor | null;
  readonly coefficient: Coefficient;
}

/** A problem, its parts, and the device that merges them. */
export interface CheckedMerge {
  readonly problem: MergeProblem;
  readonly parts: readonly MergePart[];
  readonly gpu: Gpu;
}

const ACTION = "merge attention";
const OPTIONS: readonly (keyof MergeOptions)[] = [
  "weight",
  "coefficients",
  "masses",
  "renormalize",
];

/** Validates the parts and options of a merge: the one place that throws for them. */
export function mergeProblem(parts: readonly WeighedPart[], options: MergeOptions): CheckedMerge {
  if (!Array.isArray(parts) || parts.length === 0) {
    fail(`parts must be an array of at least one: parts is ${kindOf(parts)}`);
  }
  const { rule, renormalize } = checkOptions(options);
  const { coefficients } = options;
  if (coefficients !== undefined) {
    checkCoefficients(ACTION, coefficients, { count: parts.length, renormalize });
  }
  const named = parts.map((part, i) => partTensors(part, i, rule));
  const factors = coefficients?.map((factor, i) => [`coefficients[${i}]`, factor] as const);
  const gpu = checkTensors(
    ACTION,
    Object.fromEntries([
      ...named.flat(),
      ...(factors ?? []).filter(([, factor]) => typeof factor !== "number"),
    ]),
  );
  const { shape } = parts[0].out;
  if (shape.length < 2 || shape[shape.length - 1] < 1) {
    fail(`an output must have the axes [..., H, Dv]: parts[0].out is [${shape}]`);
  }
  const elem = checkDType(ACTION, "parts[0].out", parts[0].out, ["f32", "f16"]);
  named.forEach((tensors) => checkPart(tensors as NamedTensor[], shape, elem));
  const rowShape = shape.slice(0, -1);
  const [rows, heads] = [volume(rowShape), rowShape[rowShape.length - 1]];
  return {
    problem: { rows, heads, valueDim: shape[shape.length - 1], elem, rule, renormalize },
    parts: named.map(([[, out], aux], i) => ({
      out: out as Tensor,
      aux: aux === undefined ? null : aux[1] as Tensor,
      coefficient: factors ? coefficientOf(ACTION, factors[i], rowShape) : NO_COEFFICIENT,
    })),
    gpu,
  };
}

/** How parts count. */
function checkOptions(options: MergeOptions): Pick<MergeProblem, "rule" | "renormalize"> {
  checkOptionNames(ACTION, options, OPTIONS);
  const { weight, coefficients, masses = false, renormalize = false } = options;
  checkFlags(ACTION, { masses, renormalize });
  const { rule } = checkHooks(ACTION, weight === undefined ? {} : { weight }).weight;
  if (coefficients === undefined) {
    if (masses) fail("masses must come with coefficients: there are none");
    if (renormalize) fail("renormalize must come with coefficients: there are none");
    return { rule, renormalize };
  }
  if (!renormalize) return { rule: masses ? rule : "plain", renormalize };
  if (!masses) fail("renormalize must come with masses: masses is false");
  if (rule !== "softmax" && rule !== "sum") {
    fail("renormalize must come with a weight that is divided by its sum: weight is another");
  }
  return { rule, renormalize };
}

type NamedTensor = readonly [name: string, tensor: Tensor];

/** The tensors of a part that are read, by their names in messages: the output, then its aux. */
function partTensors(
  part: Partial<WeighedPart> | null | undefined,
  i: number,
  rule: WeightRule,
): (readonly [string, unknown])[] {
  const out = [`parts[${i}].out`, part?.out] as const;
  if (rule === "plain") return [out];
  const lse = rule === "softmax" && (part?.lse !== undefined || part?.aux === undefined);
  return [out, lse ? [`parts[${i}].lse`, part?.lse] : [`parts[${i}].aux`, part?.aux]];
}

function checkPart(
  [[outName, out], ...others]: readonly NamedTensor[],
  shape: readonly number[],
  elem: "f32" | "f16",
): void {
  checkDType(ACTION, outName, out, [elem]);
  others.forEach(([name, aux]) => checkDType(ACTION, name, aux, ["f32"]));
  for (const [name, tensor] of [[outName, out] as const, ...others]) {
    const wanted = name === outName ? shape : shape.slice(0, -1);
    if (String(tensor.shape) === String(wanted) && tensor.shape.length === wanted.length) continue;
    fail(`parts must share a shape: ${name} must be [${wanted}], it is [${tensor.shape}]`);
  }
}

function fail(reason: string): never {
  throw new TypeError(`Cannot ${ACTION} as ${reason}`);
}
