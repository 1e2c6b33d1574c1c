import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { rope, type RopeOptions } from "../ops/rope/mod.ts";
import { rope as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { hostTensor, TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface RopeCase {
  /** `[B, …tokens, H, D]`. */
  readonly shape: readonly number[];
  readonly dtype: "f32" | "f16";
  readonly options: Omit<RopeOptions, "positions" | "frequencies">;
  /** Type and shape of positions, which are random below a million, and of f32 not whole. */
  readonly positions?: readonly ["i32" | "f32", ...number[]];
  /** Whether frequencies are given, from 1e-6 to 3 radians and of both signs. */
  readonly frequencies?: boolean;
}

type Part = Partial<RopeCase>;

const CASES: readonly Part[] = [
  {},
  { options: { interleaved: true } },
  { dtype: "f16" },
  { dtype: "f16", options: { interleaved: true } },
  { shape: [1, 40, 9, 6] },
  { shape: [1, 40, 9, 6], dtype: "f16", options: { interleaved: true } },
  { shape: [1, 40, 3, 7], dtype: "f16", options: { dims: 4 } },
  { options: { dims: 8 } },
  { options: { dims: 10, base: 500 } },
  { options: { dims: 10, interleaved: true } },
  { options: { offset: 1_000_000 } },
  { options: { offset: 2 ** 31 - 1000 } },
  { options: { offset: -30_000, scaling: 8 } },
  { positions: ["i32", 50] },
  { positions: ["i32", 2, 50], options: { offset: -500_000, interleaved: true } },
  { positions: ["f32", 50], dtype: "f16" },
  { positions: ["f32", 2, 50], options: { offset: 70 } },
  { frequencies: true, options: { offset: 100_000 } },
  { frequencies: true, positions: ["f32", 50], options: { interleaved: true, scaling: 3 } },
  { shape: [2, 6, 8, 3, 16] },
  { shape: [2, 6, 8, 3, 16], options: { interleaved: true, offset: [7, -9] } },
  { shape: [2, 6, 8, 3, 16], options: { axes: "1d" } },
  { shape: [1, 3, 4, 5, 2, 24] },
  { shape: [1, 3, 4, 5, 2, 32], options: { sections: [16, 8, 8] } },
  { shape: [1, 3, 4, 5, 2, 32], options: { sections: [4, 10, 12], dims: 26 }, frequencies: true },
  { positions: ["i32", 50, 2], options: { axes: "2d" } },
  { positions: ["f32", 2, 50, 3], options: { axes: "3d", sections: [8, 4, 4], interleaved: true } },
  { shape: [1, 1, 32, 128], options: { offset: 100_000 } },
  { shape: [1, 5000, 2, 64] },
  { shape: [2, 0, 3, 16] },
];

/** Rotary positions against float64. */
export function ropeGroup(selection: CheckSelection): CheckGroup {
  const cases = CASES.map(caseOf).filter(({ shape }) => shape[1] < 1000 || !selection.quick);
  const items = caseItems(cases, selection, { nameOf, tolerance: TOLERANCE, errorOf });
  return { operator: "rope", group: "forms", items };
}

function caseOf(part: Part): RopeCase {
  return { shape: [2, 50, 3, 16], dtype: "f32", options: {}, ...part };
}

function nameOf({ shape, dtype, options, positions, frequencies }: RopeCase): string {
  const words = [
    ...[`[${shape}]`, dtype, frequencies ? "frequencies" : ""],
    ...(positions ? [`positions ${positions[0]} [${positions.slice(1)}]`] : []),
    ...Object.entries(options).map(([name, value]) => `${name} ${value}`),
  ];
  return words.filter((word) => word !== "").join(" ");
}

async function errorOf(gpu: Gpu, c: RopeCase): Promise<number> {
  const { shape, dtype, options, positions, frequencies } = c;
  const random = new Random(shape.length + shape[1]);
  const x = hostTensor(dtype, shape, () => random.normal());
  const [heads, headDim] = shape.slice(-2);
  const given = positions && positionsOf(positions, random);
  const pairs = (options.dims ?? headDim) / 2;
  const speeds = frequencies
    ? hostTensor("f32", [pairs], () => random.pick([-3, 3]) * 10 ** (-6 * random.next()))
    : undefined;

  using stack = new DisposableStack();
  const out = stack.use(rope(stack.use(gpu.tensor(x.data, shape)) as Tensor<"f32">, {
    ...options,
    ...(given && { positions: stack.use(gpu.tensor(given.data, given.shape)) }),
    ...(speeds && {
      frequencies: stack.use(gpu.tensor(speeds.data as Float32Array, speeds.shape)),
    }),
  }));
  const expected = reference(x, {
    ...options,
    ...(given && { positions: given }),
    ...(speeds && { frequencies: speeds }),
  });
  return compareHeads(await out.read(), expected.data, heads, headDim).ratio;
}

function positionsOf(
  [dtype, ...shape]: readonly ["i32" | "f32", ...number[]],
  random: Random,
): { readonly data: Int32Array | Float32Array; readonly shape: readonly number[] } {
  const length = shape.reduce((product, size) => product * size, 1);
  const next = (): number => 1e6 * (random.next() - 0.5);
  const data = dtype === "i32"
    ? Int32Array.from({ length }, next)
    : Float32Array.from({ length }, (_, n) => n % 3 === 0 ? random.normal() : next());
  return { data, shape };
}
