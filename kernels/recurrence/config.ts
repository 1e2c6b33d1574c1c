import type { ParamType } from "../../gpu/program.ts";
import type { Elem, InputSource } from "../shared/rows.ts";
import type { FeatureMap } from "./features.ts";
import type { Inputs } from "./inputs.ts";

/** What a token's gate multiplies before its key is written. */
export type GateShape =
  | "none"
  | "head" // one decay for all tokens of a head
  | "token" // one for each token of a head
  | "channel" // one for each key channel of a token
  | "forget" // the same, and the keys, from one tensor of forget gates before their sigmoid (HGRN2)
  | "step"; // a step size for each token of a head, times the rate of the head (Mamba-2)

/** What a token takes from the state before its write, read with p, or k where there is no p. */
export type Erase =
  | "none"
  | "late" // kᵀ beta (v − p diag(e) S): the delta rules
  | "early" // kᵀ beta (v − p S): before the decay (Comba)
  | "pair"; // bᵀ (p S), and kᵀ v beside it (DPLR, RWKV-7)

/** How a gate is written: its logarithm; −a softplus(x + bias); bound · sigmoid(a (x + bias)); a = e^aLog. */
export type GateForm = "log" | "softplus" | "bounded";

/** How beta is written: itself; its logit; that of half of it. */
export type BetaForm = "plain" | "sigmoid" | "twice";

/** What outputs are divided by, where they are, before eps is added. */
export type Divisor =
  | "sum" // what the query reads from the running sum of the keys
  | "magnitude"; // its absolute value, at least what stands behind the weight of the key (mLSTM)

/** What a recurrence kernel must know when it is compiled: the description of the mathematics. */
export interface RecurrenceConfig {
  /** Storage of the tensors that are there. */
  readonly inputs: Inputs<Elem>;
  /** Storage of the output. */
  readonly elem: Elem;
  /** Channels of a row of q and k. */
  readonly dim: number;
  /** K, rows of the state: as many as the feature map makes of the channels. */
  readonly keyDim: number;
  /** V. */
  readonly valueDim: number;
  /** Outputs that read one state. */
  readonly group: number;
  readonly gate: GateShape;
  readonly featureMap: FeatureMap;
  /** Whether step sizes go through softplus. */
  readonly softplus: boolean;
  readonly gateForm: GateForm;
  readonly erase: Erase;
  readonly betaForm: BetaForm;
  /** Whether queries and keys are divided by their L2 norms. */
  readonly l2norm: boolean;
  /** Writes of a token, of which the first decays the state and the last is read (DeltaProduct). */
  readonly substeps: number;
  /** Whether outputs are divided by what the query reads from the running sum of the keys. */
  readonly normalize: boolean;
  readonly divisor: Divisor;
  /** Whether sequences run from their last token to their first. */
  readonly reverse: boolean;
  /** Whether the state is stored with V before K. */
  readonly valueFirst: boolean;
  /** Where tokens are read. */
  readonly source: InputSource;
}

/** Run-time parameters that all passes share. */
export const RECURRENCE_PARAMS: Readonly<Record<string, ParamType>> = {
  segment0: "u32", // first segment of this launch
  heads: "u32", // HV
  scale: "f32",
  eps: "f32",
  lowerBound: "f32", // of forget gates, and of bounded ones
  featureScale: "f32", // of the channels that a Taylor series is of
  keyCount: "f32", // keys of which outputs are the mean
  stepMin: "f32",
  stepMax: "f32",
};

/** The divisor of a token's output, from what its query reads from the running sum, as WGSL. */
export function divisorOf(
  { divisor }: Pick<RecurrenceConfig, "divisor">,
  { norm, token }: { readonly norm: string; readonly token: string },
): string {
  const read = `params.scale * ${norm}`;
  if (divisor === "sum") return `${read} + params.eps`;
  const least = `element_key_weights(row_key_weights(${token}, head) + 1u, 0u)`;
  return `max(abs(${read}), ${least}) + params.eps`;
}

/** `decay_of(gate)` and the sigmoid, as WGSL. */
export const GATE_CODE: string = /* wgsl */ `
const LOG2E = 1.4426950408889634;
const LEAST_GATE = -88.0; // its exponential is 0 in f32
const INV_SQRT2 = 0.7071067811865476;

fn decay_of(g: f32) -> f32 { return exp2(LOG2E * max(g, LEAST_GATE)); }

/// log(1 + e^x), where log alone loses small exponentials.
fn softplus(x: f32) -> f32 {
  let y = exp2(-LOG2E * abs(x));
  let series = y * (1.0 - y * (0.5 - y * (1.0 / 3.0 - 0.25 * y)));
  return max(x, 0.0) + select(log(1.0 + y), series, y < 0.02);
}

/// Saturates before its exponential overflows.
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp2(-LOG2E * clamp(x, -88.0, 88.0))); }
`;

/** `step_of(raw, head)` and `decay_of_step(step, head)` as WGSL. */
export function stepCode(
  { inputs, softplus }: Pick<RecurrenceConfig, "inputs" | "softplus">,
): string {
  const biased = inputs.stepBias ? "raw + element_step_bias(row_step_bias(0u, head), 0u)" : "raw";
  return /* wgsl */ `
fn step_of(raw: f32, head: u32) -> f32 {
  let x = ${biased};
  return clamp(${softplus ? "softplus(x)" : "x"}, params.step_min, params.step_max);
}
fn decay_of_step(step: f32, head: u32) -> f32 {
  return ${inputs.rates ? "decay_of(step * element_rates(row_rates(0u, head), 0u))" : "1.0"};
}`;
}

/** `log_gate(raw, head, bias)` and `beta_of(raw)` as WGSL. */
export function formCode(
  { inputs, gateForm, betaForm }: Pick<RecurrenceConfig, "inputs" | "gateForm" | "betaForm">,
): string {
  const rate = inputs.aLog ? "exp2(LOG2E * element_a_log(row_a_log(0u, head), 0u))" : "1.0";
  const gates: Readonly<Record<GateForm, string>> = {
    log: "raw",
    softplus: `-${rate} * softplus(raw + bias)`,
    bounded: `params.lower_bound * sigmoid(${rate} * (raw + bias))`,
  };
  const betas: Readonly<Record<BetaForm, string>> = {
    plain: "raw",
    sigmoid: "sigmoid(raw)",
    twice: "2.0 * sigmoid(raw)",
  };
  return /* wgsl */ `
fn log_gate(raw: f32, head: u32, bias: f32) -> f32 { return ${gates[gateForm]}; }
fn beta_of(raw: f32) -> f32 { return ${betas[betaForm]}; }
/// 1 / |x| of the sum of squares of x; 0 stays 0.
fn inverse_norm(squares: f32) -> f32 { return inverseSqrt(squares + 1e-6); }
`;
}
