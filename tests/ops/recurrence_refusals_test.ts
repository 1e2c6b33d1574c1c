import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  FAMILIES,
  type Family,
  type FamilyOptions,
  type FamilyTensors,
  STATE,
} from "../../cli/families.ts";
import { linearAttentionFull, recurrence, requestGpu, type Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu();

/** Lengths of the axes in `cli/families.ts`, one write for each token; there may be no QUERIES. */
const LENGTHS: Readonly<Record<string, number>> = {
  ...{ B: 2, N: 2, T: 6, TN: 6, S: 5, QUERIES: 3, HQ: 4, HK: 2, HV: 4 },
  ...{ K: 8, V: 12, TAYLOR: 45, HEDGEHOG: 16 },
};
const lengthsOf = (axes: string): number[] => axes.split(" ").map((axis) => LENGTHS[axis]);

type Unchecked = (...values: unknown[]) => unknown;

/** What a call is given, by the names that its caller knows. */
type Given = Record<string, unknown>;

/** A function, how it is called, and what is varied. */
interface Called {
  readonly name: string;
  readonly arguments: FamilyTensors;
  /** Those that may be left out. */
  readonly optional: readonly string[];
  /** An option that is refused last, and why. */
  readonly last: readonly [options: object, rule: string];
  call(given: Given, options: object): unknown;
}

const SCHEDULE = [
  { schedule: "fast" },
  'schedule must fit the problem and the device: "fast"',
] as const;

/** What `initialState.s` is where a record is called `state`. */
const nameOf = (name: string, state: string): string => name.replace("initialState", state);

/** Tensors that are given by names with a dot are parts of a record. */
function stateOf(given: Given, name: string): unknown {
  const parts = Object.keys(given).filter((key) => key.startsWith(`${name}.`));
  if (parts.length === 0) return given[name];
  return Object.fromEntries(parts.map((key) => [key.slice(name.length + 1), given[key]]));
}

/** A family over sequences, or its step, with everything that it may be given. */
function calledOf(
  [name, family]: readonly [string, Family],
  step: boolean,
  options: FamilyOptions,
  more: FamilyTensors = family.optional ?? {},
): Called {
  const state = step ? "state" : "initialState";
  const states = Object.fromEntries(
    Object.entries((family.state ?? (() => STATE))(options)).map(([key, tensor]) => [
      nameOf(key, state),
      tensor,
    ]),
  );
  return {
    name: step ? `${name}Step` : name,
    arguments: { ...family.parameters, ...more, ...states },
    optional: [...Object.keys(more), ...(step ? [] : Object.keys(STATE))],
    last: SCHEDULE,
    call(given, others) {
      const inputs = Object.keys(family.parameters).map((key) => given[key]);
      const own = Object.fromEntries(Object.keys(more).map((key) => [key, given[key]]));
      const found = stateOf(given, state);
      return step
        ? (family.step as Unchecked)(found, ...inputs, { ...options, ...own, ...others })
        : (family.operator as Unchecked)(...inputs, {
          ...{ ...options, ...own, initialState: found, ...others },
        });
    },
  };
}

/** An operator without a family. */
function operatorOf(
  [name, operator]: readonly [string, unknown],
  options: FamilyTensors,
  parameters: FamilyTensors = FAMILIES.retention.parameters,
  last: Called["last"] = SCHEDULE,
): Called {
  return {
    last,
    name,
    arguments: { ...parameters, ...options },
    optional: Object.keys(options),
    call({ q, k, v, ...given }, others) {
      return (operator as Unchecked)(q, k, v, { ...given, ...others });
    },
  };
}

const { linearAttention, ...others } = FAMILIES;
const CALLED: readonly Called[] = [
  ...[false, true].flatMap((step) => [
    ...Object.entries(others).map((entry) => calledOf(entry, step, {})),
    calledOf(["linearAttention", linearAttention], step, {}, {}),
    calledOf(["linearAttention", linearAttention], step, { featureMap: "hedgehog" }),
  ]),
  operatorOf(["recurrence", recurrence], {
    ...{ g: { axes: "HV" }, gv: { axes: "B T HV V" }, u: { axes: "HK K" }, ...STATE },
  }),
  operatorOf(["recurrence", recurrence], {
    ...{ g: { axes: "B T HV" }, beta: { axes: "B T HV" }, p: { axes: "B T HK K" } },
  }),
  operatorOf(["recurrence", recurrence], { a: { axes: "B T HK K" }, b: { axes: "B T HV K" } }),
  operatorOf(["linearAttentionFull", linearAttentionFull], { tokenWeights: { axes: "B S HK" } }, {
    ...{ q: { axes: "B QUERIES HQ K" }, k: { axes: "B S HK K" }, v: { axes: "B S HV V" } },
  }, [{ scale: Infinity }, "scale must be a finite f32: scale is Infinity"]),
];

function tensor(shape: readonly number[], data: new (size: number) => unknown): Tensor {
  assert(shared);
  const size = shape.reduce((product, length) => product * length, 1);
  return shared.tensor(new data(size) as Float32Array, shape);
}

/** What an argument must not be. */
function wrongsOf(axes: string, optional: boolean): Given {
  const shape = lengthsOf(axes);
  const ranks = [0, 1, 2, 3, 4, 5].filter((rank) => rank !== shape.length);
  const shapes = [
    ...ranks.map((rank) => [...shape, 1, 1, 1, 1, 1].slice(0, rank)),
    ...axes.split(" ").flatMap((name, axis) => name === "QUERIES" ? [] : [shape.with(axis, 0)]),
  ];
  const disposed = tensor(shape, Float32Array);
  disposed.dispose();
  return {
    ...Object.fromEntries(shapes.map((own) => [`[${own}]`, tensor(own, Float32Array)])),
    ...{ i32: tensor(shape, Int32Array), u32: tensor(shape, Uint32Array), disposed },
    ...{
      null: null,
      3: 3,
      word: "x",
      array: new Float32Array(4),
      ...(!optional && { none: void 0 }),
    },
  };
}

/** What is wrong with a refusal, if anything. */
function faultOf(call: () => unknown, names: readonly string[]): string | undefined {
  assert(shared);
  const before = shared.memory();
  try {
    call();
  } catch (error) {
    const { constructor, message } = error as Error;
    if (constructor !== TypeError && constructor !== RangeError) return String(error);
    // what could not be done, the rule, then arguments with their current values
    const [, current = ""] = /^Cannot compute .+ as .+: (.*)$/.exec(message) ?? [];
    const named = [...current.matchAll(/([\w.]+)(?:=| is | \[)/g)].map(([, name]) => name);
    if (named.length === 0 || !named.every((name) => names.includes(name))) return message;
    return String(before.bytes) === String(shared.memory().bytes) ? undefined : "it allocates";
  }
  return "it is accepted";
}

for (const { name, arguments: tensors, optional, last, call } of CALLED) {
  const also = Object.keys(tensors).join(", ");
  Deno.test({
    name: `${name}() says which of ${also} is not what it must be`,
    ignore,
    fn() {
      assert(shared);
      shared.scope(() => {
        const good = Object.fromEntries(
          Object.entries(tensors).map(([key, { axes }]) => [
            key,
            tensor(lengthsOf(axes), Float32Array),
          ]),
        );
        assertThrows(() => call(good, last[0]), RangeError, last[1]);
        const names = [...Object.keys(tensors), "householders"];
        const faults: Record<string, string> = {};
        for (const [key, { axes }] of Object.entries(tensors)) {
          const wrongs = wrongsOf(axes, optional.includes(key));
          for (const [kind, wrong] of Object.entries(wrongs)) {
            const fault = faultOf(() => call({ ...good, [key]: wrong }, {}), names);
            if (fault !== undefined) faults[`${key} is ${kind}`] = fault;
          }
        }
        assertEquals(faults, {});
      });
    },
  });

  Deno.test({
    name: `${name}() tells an unknown option before all else of ${also}`,
    ignore,
    fn() {
      assert(shared);
      const wrong = Object.fromEntries(Object.keys(tensors).map((key) => [key, 3]));
      assertThrows(
        () => call(wrong, { unheard: 1 }),
        TypeError,
        ' as options must be known: "unheard" is not, the nearest is ',
      );
    },
  });
}
