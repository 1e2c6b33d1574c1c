import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { GateShape } from "../../kernels/recurrence/config.ts";
import type { InputName } from "../../kernels/recurrence/inputs.ts";
import { areCopyable } from "../attention/sizes.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";
import type { RecurrenceOptions, RecurrenceState } from "./options.ts";
import type { Sizes } from "./problem.ts";

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

/** Tells gates by their shape. */
export function gateShape(
  action: string,
  g: Tensor,
  { batch, length, heads, keyDim }: Sizes,
): GateShape {
  const shapes: Record<Exclude<GateShape, "none" | "forget" | "step">, number[]> = {
    head: [heads],
    token: [batch, length, heads],
    channel: [batch, length, heads, keyDim],
  };
  for (const [gate, shape] of Object.entries(shapes)) {
    if (String(g.shape) === String(shape)) return gate as GateShape;
  }
  throw new TypeError(
    `Cannot ${action} as g must be [HV] = [${shapes.head}], [B, T, HV] = [${shapes.token}] or [B, T, HV, K] = [${shapes.channel}]: g is [${g.shape}]`,
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

/** The given states by name. */
export function statesOf(
  action: string,
  initialState: unknown,
  normalize: boolean,
): Record<string, Tensor> {
  if (initialState === undefined) return {};
  if (!normalize) return { initialState: initialState as Tensor };
  if (
    typeof initialState === "object" && initialState !== null && !(initialState instanceof Tensor)
  ) {
    const { s, z } = initialState as RecurrenceState;
    return { "initialState.s": s, "initialState.z": z };
  }
  throw new TypeError(
    `Cannot ${action} as initialState must be a record { s, z } where normalize is true: initialState is ${
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

/** Checks that the gate is there, with as many axes as the family has. */
export function checkGate(
  action: string,
  g: Tensor,
  ranks: readonly number[],
  name = "g",
): void {
  checkTensors(action, { [name]: g });
  if (ranks.includes(g.shape.length)) return;
  throw new TypeError(
    `Cannot ${action} as ${name} must have ${ranks.join(" or ")} axes: ${name} is [${g.shape}]`,
  );
}
