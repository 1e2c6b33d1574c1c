import { writer } from "../shared/rows.ts";
import { NO_TOUCH, touchCode } from "../shared/touch.ts";
import { unroll } from "../unroll.ts";
import { type ElementPart, ELEMENTS } from "./element.ts";
import { gatesAndWeights } from "./mlstm_outputs.ts";
import type { WalkConfig } from "./walk.ts";

/** `emit(row, c, before, own, sum)`: stores what a token makes of what came before it; and what touches. */
export function outputsOf(config: WalkConfig): ElementPart {
  const { kind, outputs, gateRows } = config;
  if (!outputs) return untouched(NOTHING);
  if (gateRows === null) return sums(config);
  return untouched(
    ELEMENTS[kind].anchored ? gatesAndWeights(HEAD, config) : keysAndGates(config, gateRows),
  );
}

function untouched({ accessors, code }: ElementPart): ElementPart {
  return { accessors, code: [NO_TOUCH, code].join("\n") };
}

const HEAD = "fn emit(row: u32, c: u32, before: Element, own: Element, sum: Element)";

const NOTHING: ElementPart = { accessors: [], code: `${HEAD} {}` };

function sums({ elem, width, source }: WalkConfig): ElementPart {
  const out = { name: "out", elem, width, infinite: true };
  return {
    accessors: [writer(out)],
    code: [
      touchCode(out, source),
      `${HEAD} { store_out(row, c, output(sum)); }`,
    ].join("\n"),
  };
}

/**
 * The softmax along time as a recurrence: by e^g = exp(z_{t-1} - z_t) a token shrinks what came before,
 * and exp(k_t - z_t) is its key. They add up to 1, and come of the same m and u: no difference is
 * taken of two logarithms that have been rounded.
 */
function keysAndGates({ elem, width }: WalkConfig, gateRows: number): ElementPart {
  const code = /* wgsl */ `
const LOG2E = 1.4426950408889634;

/// What the decays so far fall short of: of an exp2 that is 4e-8 off, 1e4 tokens make 4e-4.
var<private> lost: vec4f;

${HEAD} {
  let key = own.u * exp(own.m - sum.m) / max(sum.u, vec4f(1.0));
  let risen = before.m - sum.m + log(max(before.u, vec4f(1.0)) / max(sum.u, vec4f(1.0)));
  let small = key < vec4f(0.5);
  let fitted = min(log_1p(-key) + lost, vec4f());
  lost += select(vec4f(), 1.0 - key - exp2(LOG2E * fitted), small);
  let kept = select(risen, fitted, small);
  let gate = select(kept, vec4f(FLOOR), (before.u == vec4f()) & (sum.u > vec4f()));
  store_keys(row, c, key);
  @unroll for (var i = 0u; i < GATE_ROWS; i++) { store_gates(GATE_ROWS * row + i, c, gate); }
}`;
  return {
    accessors: [
      writer({ name: "keys", elem, width }),
      writer({ name: "gates", elem: "f32", width }),
    ],
    code: unroll(code, { GATE_ROWS: gateRows }),
  };
}
