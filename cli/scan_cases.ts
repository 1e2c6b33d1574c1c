import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { ScanOperator } from "../kernels/scan/element.ts";
import { hgrn, logCumsumExp, scan, softmaxScan } from "../ops/scan/mod.ts";
import * as reference from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";
import { flattened, nested } from "./records.ts";

/** What decays, and exponents or scores, look like. */
type ScanDraw =
  | "gentle"
  | "hard" // every seventh decay 0, others of either sign, of hgrn down to e^-88; exponents of thousands
  | "masked" // every second exponent −∞
  | "nothing"; // exponents of −∞ alone

/** A problem with everything that determines its inputs. */
interface ScanCase {
  readonly operator: ScanOperator;
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly width: number;
  readonly dtype: "f32" | "f16";
  readonly draw: ScanDraw;
  /** Whether sequences start from states. */
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  /** The options that are no tensors, but finalState. */
  readonly options: {
    readonly mode?: "loop" | "chunk";
    readonly chunkSize?: 16 | 64;
    readonly reverse?: boolean;
  };
}

type Part = Partial<ScanCase>;

const LOOP = { mode: "loop" } as const;
const CHUNK = { mode: "chunk", chunkSize: 16 } as const;

/** Sequences that are empty, of one token, of less than a chunk and of several. */
const PACKED = [0, 0, 1, 1, 18, 100, 100];

/** From here on problems are long, and left out by `--quick`. */
const LONG = 8192;

/** What each scan must get right. */
const FORMS: readonly Part[] = [
  { cuSeqlens: PACKED, options: LOOP },
  { cuSeqlens: PACKED, options: { ...CHUNK, reverse: true } },
  { batch: 2, width: 5, draw: "hard", options: CHUNK },
  { batch: 2, width: 7, draw: "hard", options: { ...LOOP, reverse: true }, initial: false },
  { length: 0, options: LOOP }, // hands its state on
  { length: 1, options: CHUNK },
  { width: 6, dtype: "f16", options: CHUNK },
  { width: 5, dtype: "f16", draw: "hard", initial: false, options: LOOP },
  { length: LONG, heads: 1, options: { ...CHUNK, chunkSize: 64 } },
  { length: 70_000, heads: 1, width: 3, options: LOOP }, // beyond the loops of llvmpipe
];

/** What sums of exponentials must get right besides. */
const EXPONENTS: readonly Part[] = [
  { draw: "masked", options: CHUNK },
  { draw: "masked", initial: false, dtype: "f16", options: LOOP },
  { draw: "nothing", initial: false, options: CHUNK },
];

const TOLERANCE = { f32: 1e-4, f16: 2e-3 } as const;

/** The scans along time against float64. */
export function scanGroups(selection: CheckSelection): CheckGroup[] {
  return (["scan", "hgrn", "logCumsumExp", "softmaxScan"] as const).map((operator) => {
    const linear = operator === "scan" || operator === "hgrn";
    const parts = linear ? FORMS : [...FORMS, ...EXPONENTS];
    const cases = parts.map((part) => caseOf(operator, part))
      .filter(({ length }) => length < LONG || !selection.quick);
    const items = caseItems(cases, selection, { nameOf, tolerance: TOLERANCE, errorOf });
    return { operator, group: "forms", items };
  });
}

function caseOf(operator: ScanOperator, part: Part): ScanCase {
  return {
    ...{ operator, batch: 1, length: 100, heads: 2, width: 8, dtype: "f32", draw: "gentle" },
    ...{ initial: true, options: {} },
    ...part,
  };
}

function nameOf(c: ScanCase): string {
  const { batch, length, heads, width, dtype, draw, initial, cuSeqlens, options } = c;
  const { mode = "", chunkSize = "", reverse = false } = options;
  const words = [
    ...[`B${batch} T${length} H${heads} V${width}`, dtype, draw === "gentle" ? "" : draw],
    ...[initial ? "initial" : "", cuSeqlens ? `packed ${cuSeqlens}` : ""],
    ...[reverse ? "reverse" : "", mode, chunkSize],
  ];
  return words.filter((word) => word !== "").join(" ");
}

/** The arguments of a case by name, those of states by names with a dot. */
function inputsOf(c: ScanCase): Record<string, HostTensor> {
  const { operator, batch, length, heads, width, dtype, draw, initial, cuSeqlens } = c;
  const random = new Random(length + width);
  const normal = (): number => random.normal();
  const decay = (): number => {
    if (draw === "gentle") return 1 - 0.2 * random.next();
    return random.next() < 1 / 7 ? 0 : 2 * random.next() - 1;
  };
  const exponent = (): number => {
    if (draw === "nothing" || (draw === "masked" && random.next() < 0.5)) return -Infinity;
    return (draw === "hard" ? 3e3 : 5) * random.normal();
  };
  const gate = (): number => {
    if (draw === "gentle") return -0.2 * random.next();
    return random.next() < 1 / 7 ? -Infinity : -88 * random.next() ** 2;
  };
  const rows = [batch, length, heads];
  const [tokens, sequences] = [[...rows, width], [cuSeqlens ? cuSeqlens.length - 1 : batch, heads]];
  const state = (name: string, axes: number[], next: () => number): Record<string, HostTensor> =>
    initial ? { [name]: hostTensor("f32", axes, next) } : {};
  if (operator === "softmaxScan") {
    return {
      s: hostTensor(dtype, rows, exponent),
      v: hostTensor(dtype, tokens, normal),
      ...state("initialState.m", sequences, normal),
      ...state("initialState.u", sequences, () => 1 + random.next()),
      ...state("initialState.w", [...sequences, width], normal),
    };
  }
  const inputs = {
    scan: { a: decay, b: normal },
    hgrn: { x: normal, g: gate },
    logCumsumExp: { x: exponent },
  }[operator];
  return {
    ...Object.fromEntries(
      Object.entries(inputs).map(([name, next]) => [name, hostTensor(dtype, tokens, next)]),
    ),
    ...state("initialState", [...sequences, width], normal),
  };
}

const PARAMETERS = {
  scan: ["a", "b"],
  hgrn: ["x", "g"],
  logCumsumExp: ["x"],
  softmaxScan: ["s", "v"],
} as const;

/** Calls an operator, of the library or the reference, with arguments by name. */
function call<T extends object>(
  operators: Record<ScanOperator, (...args: never[]) => object>,
  { operator, options }: ScanCase,
  inputs: Readonly<Record<string, T>>,
): Record<string, T> {
  const parameters: readonly string[] = PARAMETERS[operator];
  const others = Object.entries(inputs).filter(([name]) => !parameters.includes(name));
  const called = operators[operator] as (...args: unknown[]) => object;
  return flattened<T>(
    called(...parameters.map((name) => inputs[name]), {
      ...{ ...options, finalState: true },
      ...nested(Object.fromEntries(others)),
    }),
  );
}

/** The error ratio of the worst output and head. */
async function errorOf(gpu: Gpu, c: ScanCase): Promise<number> {
  const { cuSeqlens } = c;
  const inputs = {
    ...inputsOf(c),
    ...(cuSeqlens &&
      { cuSeqlens: { data: Int32Array.from(cuSeqlens), shape: [cuSeqlens.length] } }),
  };
  const expected = call<reference.ReferenceTensor>(reference, c, inputs);
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  const results = call<Tensor>({ scan, hgrn, logCumsumExp, softmaxScan }, c, tensors);
  const ratios = [0];
  for (const [name, { data, shape }] of Object.entries(expected)) {
    const width = shape.length === (name === "out" ? 4 : 3) ? c.width : 1;
    ratios.push(compareHeads(await results[name].read(), data, c.heads, width).ratio);
  }
  for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.dispose();
  return Math.max(...ratios);
}
