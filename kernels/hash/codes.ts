import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { TOKEN_PLACE, tokenMain } from "../centroids/rounds.ts";

/** What of the products with planes is the code of a token. */
export type HashKind = "hyperplane" | "crossPolytope";

/** What making codes must know when it is compiled. */
export interface HashCodesConfig {
  readonly kind: HashKind;
}

/** Invocations of a workgroup. */
export const HASH_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  heads: "u32",
  width: "u32", // T
  planes: "u32", // R
  before: "u32", // codes that are bound before the first line's
  start: "u32", // first invocation of this launch: lines and tokens, counted together
  end: "u32",
};

const BINDINGS: readonly Binding[] = [
  { name: "products", access: "read", type: "array<f32>" }, // [lines, R, T]
  { name: "codes", access: "read_write", type: "array<i32>" }, // [B, T, H]
];

/**
 * The codes of tokens from their products with planes, an invocation for each token: the place of the
 * signs on a Gray code, whose neighbours differ in one sign (HyperAttention: Han et al. 2023), or the
 * direction that has the largest product (Reformer: Kitaev et al. 2020).
 */
export function hashCodes({ kind }: HashCodesConfig): Program {
  const code = [
    constants({ THREADS: HASH_THREADS }),
    declare(BINDINGS, PARAMS),
    TOKEN_PLACE,
    CODE_OF[kind],
    MAIN,
  ].join("\n");
  return { label: `hash (${kind})`, code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const CODE_OF: Readonly<Record<HashKind, string>> = {
  hyperplane: /* wgsl */ `
fn code_of(line: u32, t: u32) -> u32 {
  var signs = 0u;
  for (var r = 0u; r < params.planes; r++) {
    signs |= u32(products[(line * params.planes + r) * params.width + t] > 0.0) << r;
  }
  // each bit of the place is the parity of the signs from there up
  for (var n = 1u; n < 32u; n <<= 1u) { signs ^= signs >> n; }
  return signs;
}`,
  crossPolytope: /* wgsl */ `
fn code_of(line: u32, t: u32) -> u32 {
  var most = vec2f(-3.4e38); // along the planes' normals, and against them
  var places = vec2u();
  for (var r = 0u; r < params.planes; r++) {
    let product = products[(line * params.planes + r) * params.width + t];
    let more = vec2f(product, -product) > most;
    most = select(most, vec2f(product, -product), more);
    places = select(places, vec2u(r), more);
  }
  return select(places.x, params.planes + places.y, most.y > most.x);
}`,
};

const MAIN = tokenMain("codes[place_of(line, t)] = i32(code_of(line, t));");
