import { snakeCase } from "../../gpu/program.ts";
import { eachOwn, type Owned, ownType } from "../shared/own.ts";
import type { Accessor } from "../shared/rows.ts";

/** WGSL, and the binding that it needs where it does anything. */
export type Part = Accessor | { readonly code: string };

/** `load_<name>(row, c)` of a tensor that is not there. */
export function missingReader(name: string, type: "vec4f" | "Own"): Part {
  return { code: `fn load_${snakeCase(name)}(row: u32, c: u32) -> ${type} { return ${type}(); }` };
}

/** Makes `load_<name>(row, c) -> Own` of elements that are paired. */
export function pairedReader(name: string, { own }: Owned): Part {
  const id = snakeCase(name);
  const pair = gathered({ own }, (channel) => `element_${id}(row, ${channel})`);
  return { code: `fn load_${id}(row: u32, c: u32) -> Own { return ${pair}; }` };
}

/** `Own` and what is done to each of its channels, as WGSL. */
export function ownCode({ own }: Owned): string {
  return /* wgsl */ `
${ownType({ own })}

fn channel_of(c: u32, i: u32) -> u32 { return min(${own}u * c + i, CHANNELS - 1u); }

/// The rate of the n-th state of each channel, of exponents to base 2: finite, so that no step is no decay.
fn rate_of(c: u32, n: u32) -> Own {
  let rates = ${gathered({ own }, (channel) => `element_rates(${channel}, n)`)};
  return max(LOG2E * rates, Own(-0x1.fffffep+127f));
}

fn own_decay(x: Own) -> Own { return exp2(max(x, Own(LOG2E * LEAST_GATE))); }

fn own_softplus(x: Own) -> Own { return ${eachOwn({ own }, (x) => `softplus(${x})`)}; }

fn own_silu(x: Own) -> Own { return x * ${eachOwn({ own }, (x) => `sigmoid(${x})`)}; }`;
}

/** `state_of(row, c, n)` and `keep_state(row, c, n, x)`: the n-th state of each channel. */
export function stateAccessor({ own }: Owned, there: boolean): Part {
  const [load, store] = [
    "fn state_of(row: u32, c: u32, n: u32) -> Own",
    "fn keep_state(row: u32, c: u32, n: u32, x: Own)",
  ];
  if (!there) return { code: `${load} { return Own(); }\n${store} {}` };
  const at = (channel: string): string => `state[(row * CHANNELS + ${channel}) * STATES + n]`;
  return {
    binding: { name: "state", access: "read_write", type: "array<f32>" },
    code: `${load} { return ${gathered({ own }, at)}; }\n${store} { ${scattered({ own }, at)} }`,
  };
}

/** `keep_steps(row, c, x)`: the sum of the step sizes of each channel. */
export function stepsAccessor({ own }: Owned, there: boolean): Part {
  const store = "fn keep_steps(row: u32, c: u32, x: Own)";
  if (!there) return { code: `${store} {}` };
  const at = (channel: string): string => `steps[row * CHANNELS + ${channel}]`;
  return {
    binding: { name: "steps", access: "read_write", type: "array<f32>" },
    code: `${store} { ${scattered({ own }, at)} }`,
  };
}

function gathered({ own }: Owned, load: (channel: string) => string): string {
  return `Own(${Array.from({ length: own }, (_, i) => load(`channel_of(c, ${i}u)`)).join(", ")})`;
}

function scattered({ own }: Owned, at: (channel: string) => string): string {
  if (own === 1) return `${at("c")} = x;`;
  return [0, 1, 2, 3].map((i) =>
    `if 4u * c + ${i}u < CHANNELS { ${at(`(4u * c + ${i}u)`)} = x[${i}]; }`
  ).join("\n  ");
}
