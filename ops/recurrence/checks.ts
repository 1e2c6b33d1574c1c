import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { GateShape } from "../../kernels/recurrence/config.ts";
import type { InputName } from "../../kernels/recurrence/inputs.ts";
import { areCopyable } from "../attention/sizes.ts";
import { checkDType, checkRank, checkShape } from "../tensors.ts";
import { nameOf, type TensorNames } from "./names.ts";
import type { RecurrenceOptions, RecurrenceState } from "./options.ts";
import type { RecurrenceForm, Sizes } from "./problem.ts";

/** Checks the axes of rows of q, k or v, by the names that callers know. */
export function checkRows(action: string, rows: Readonly<Record<string, Tensor>>): void {
  for (const [name, tensor] of Object.entries(rows)) {
    checkRank(action, name, tensor, ["B", "T", "heads", "dim"]);
  }
}

/** Checks what is erased: the delta rule, or a pair of vectors. */
export function checkErase(action: string, options: RecurrenceOptions, sizes: Sizes): void {
  const { beta, p, a, b, gv, u, normalize } = options;
  const { batch, length, heads, kHeads, keyDim } = sizes;
  const given = Object.entries({ beta, p, a, b, gv, u }).filter(([, tensor]) =>
    tensor !== undefined
  );
  const names = given.map(([name]) => name).join(", ");
  if ((a === undefined) !== (b === undefined)) {
    throw new TypeError(`Cannot ${action} as a and b come together: given are ${names}`);
  }
  if (a !== undefined && (beta !== undefined || p !== undefined)) {
    throw new TypeError(
      `Cannot ${action} as a and b exclude beta and p, the delta rule: given are ${names}`,
    );
  }
  if (p !== undefined && beta === undefined) {
    throw new TypeError(`Cannot ${action} as p needs beta: given are ${names}`);
  }
  const erases = a !== undefined || beta !== undefined;
  if (erases && (gv !== undefined || u !== undefined || normalize === true)) {
    throw new TypeError(
      `Cannot ${action} as gv, u and normalize exclude beta, a and b: given are ${
        normalize === true ? `${names}, normalize` : names
      }`,
    );
  }
  if (beta !== undefined) checkShape(action, "beta", beta, [batch, length, heads]);
  for (const [name, tensor] of Object.entries({ p, a, b })) {
    if (tensor === undefined) continue;
    const shapes = [kHeads, heads].map((own) => [batch, length, own, keyDim]);
    checkShape(action, name, tensor, ...shapes);
  }
}

/** The input that holds gates of a shape. */
export const GATES: Readonly<Record<GateShape, InputName>> = {
  ...{ none: "g", head: "headGate", token: "g", channel: "gk", forget: "k", step: "g" },
};

/** Gates that are told by their shape. */
export type GivenGate = Extract<GateShape, "head" | "token" | "channel">;

const GIVEN_GATES: readonly GivenGate[] = ["head", "token", "channel"];

/** Tells gates by their shape. */
export function gateShape(
  { action, names = {}, gates = GIVEN_GATES }: RecurrenceForm,
  g: Tensor,
  { batch, length, heads, keyDim }: Sizes,
): GivenGate {
  const shapes: Readonly<Record<GivenGate, { axes: string; shape: readonly number[] }>> = {
    head: { axes: "[HV]", shape: [heads] },
    token: { axes: "[B, T, HV]", shape: [batch, length, heads] },
    channel: { axes: "[B, T, HV, K]", shape: [batch, length, heads, keyDim] },
  };
  const found = gates.find((gate) => String(g.shape) === String(shapes[gate].shape));
  if (found !== undefined) return found;
  const rules = gates.map((gate) => `${shapes[gate].axes} = [${shapes[gate].shape}]`);
  const last = rules.slice(-2).join(" or ");
  const name = nameOf(names, "g");
  throw new TypeError(
    `Cannot ${action} as ${name} must be ${
      [...rules.slice(0, -2), last].join(", ")
    }: ${name} is [${g.shape}]`,
  );
}

/** Checks the bonus of a token's own key. */
export function checkBonus(action: string, u: Tensor, heads: number, keyDim: number): void {
  const [own, dim] = u.shape;
  if (u.shape.length === 2 && own >= 1 && heads % own === 0 && dim === keyDim) return;
  throw new TypeError(
    `Cannot ${action} as u must be [H, K] with H a divisor of ${heads} and K = ${keyDim}: u is [${u.shape}]`,
  );
}

/** The given states by the names that callers know. */
export function statesOf(
  { action, names = {} }: { readonly action: string; readonly names?: TensorNames },
  initialState: unknown,
  normalize: boolean,
): Record<string, Tensor> {
  const name = nameOf(names, "initialState");
  if (initialState === undefined) return {};
  if (!normalize) return { [name]: initialState as Tensor };
  if (
    typeof initialState === "object" && initialState !== null && !(initialState instanceof Tensor)
  ) {
    const { s, z } = initialState as RecurrenceState;
    return { [`${name}.s`]: s, [`${name}.z`]: z };
  }
  throw new TypeError(
    `Cannot ${action} as ${name} must be a record { s, z } where normalize is true: ${name} is ${
      kindOf(initialState)
    }`,
  );
}

/** Checks given states. */
export function checkState(
  action: string,
  states: Readonly<Record<string, Tensor>>,
  state: readonly number[],
  sums: readonly number[],
): void {
  for (const [name, tensor] of Object.entries(states)) {
    checkDType(action, name, tensor, ["f32"]);
    checkShape(action, name, tensor, name.endsWith(".z") ? sums : state);
    if (!areCopyable([tensor])) {
      throw new TypeError(
        `Cannot ${action} as the buffer of ${name} must have COPY_SRC usage: it has not`,
      );
    }
  }
}
