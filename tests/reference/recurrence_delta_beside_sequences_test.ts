import { assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  causalConv1d,
  comba,
  deltaProduct,
  deltaRule,
  dplr,
  type Float64Tensor,
  gatedDeltaRule,
  gdn2,
  hgrn,
  kda,
  logLinearAttention,
  mlstm,
  type ReferenceTensor,
  rwkv7,
  selectiveScan,
  titansMemory,
  tttLinear,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

/** A tensor whose elements come one by one. */
function tensor(shape: number[], next: () => number): Float64Tensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { data: Float64Array.from({ length: size }, next), shape };
}

/** Inputs with a time axis: 4 heads that query, 1 that writes, 2 states; K = 3, V = 5. */
function inputs(seed: number, batch: number, length: number) {
  const random = new Random(seed);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  const small = (...shape: number[]) => tensor(shape, () => random.normal() / 2);
  const uniform = (...shape: number[]) => tensor(shape, () => random.next());
  const gates = (...shape: number[]) => tensor(shape, () => -random.next());
  const row = [batch, length];
  return {
    q: normal(...row, 4, 3),
    k: small(...row, 1, 3),
    v: normal(...row, 2, 5),
    w: normal(...row, 2, 3),
    g: gates(...row, 2),
    gChannel: gates(...row, 2, 3),
    beta: uniform(...row, 2),
    p: small(...row, 1, 3),
    a: small(...row, 2, 3),
    b: small(...row, 1, 3),
    erase: uniform(...row, 2, 3),
    write: uniform(...row, 2, 5),
    kSteps: small(batch, 2 * length, 1, 3),
    vSteps: normal(batch, 2 * length, 2, 5),
    betaSteps: uniform(batch, 2 * length, 2),
    i: normal(...row, 2),
    f: normal(...row, 2),
    lambda: normal(...row, 2, 5),
    alpha: uniform(...row, 2),
    eta: uniform(...row, 2),
    x: normal(...row, 6),
    z: normal(...row, 6),
    gX: gates(...row, 6),
    bN: normal(...row, 4),
    cN: normal(...row, 4),
  };
}

/** Tensors without a time axis. */
function weights() {
  const random = new Random(99);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  return {
    aLog: normal(2),
    dtBias: normal(2),
    dtBiasChannel: normal(2, 3),
    w: normal(2, 3),
    b: normal(2, 3),
    a: tensor([6, 4], () => -random.next()),
    d: normal(6),
    conv: normal(6, 4),
    bias: normal(6),
  };
}

type Inputs = ReturnType<typeof inputs>;
type Weights = ReturnType<typeof weights>;
type State = ReferenceTensor | Record<string, ReferenceTensor>;

/** One family; its options are those of the properties below. */
interface Family {
  run: (t: Inputs, w: Weights, options: object) => { out: Float64Tensor; finalState?: unknown };
  /** The parts of the state that `stateLayout` turns; none where it is no option. */
  turned?: string[];
  /** Whether sequences can run backwards. */
  reverse?: false;
  /** Whether there is one channel axis instead of heads. */
  flat?: true;
  /** The name of the initial state among the options. */
  state?: string;
}

const FAMILIES: Record<string, Family> = {
  "deltaRule()": {
    run: ({ q, k, v, beta }, _, o) => deltaRule(q, k, v, beta, { ...o, qkL2norm: true }),
    turned: ["state"],
  },
  "gatedDeltaRule()": {
    run: ({ q, k, v, g, i }, { aLog, dtBias }, o) =>
      gatedDeltaRule(q, k, v, g, i, { ...o, qkL2norm: true, aLog, dtBias, betaSigmoid: true }),
    turned: ["state"],
  },
  "deltaProduct()": {
    run: ({ q, kSteps, vSteps, g, betaSteps }, _, o) =>
      deltaProduct(q, kSteps, vSteps, g, betaSteps, { ...o, householders: 2 }),
    turned: ["state"],
  },
  "kda()": {
    run: ({ q, k, v, gChannel, beta }, { aLog, dtBiasChannel: dtBias }, o) =>
      kda(q, k, v, gChannel, beta, { ...o, aLog, dtBias, lowerBound: -5 }),
    turned: ["state"],
  },
  "comba()": {
    run: ({ q, k, v, p, g, beta }, _, o) => comba(q, k, v, p, g, beta, o),
    turned: ["state"],
  },
  "gdn2()": {
    run: ({ q, k, v, gChannel, erase, write }, _, o) => gdn2(q, k, v, gChannel, erase, write, o),
    turned: ["state"],
  },
  "dplr()": {
    run: ({ q, k, v, a, b, gChannel }, _, o) => dplr(q, k, v, a, b, gChannel, o),
    turned: ["state"],
  },
  "rwkv7()": {
    run: ({ q, k, v, a, b, gChannel }, _, o) => rwkv7(q, gChannel, k, v, a, b, o),
    turned: ["state"],
  },
  "hgrn()": { run: ({ x, gX }, _, o) => hgrn(x, gX, o), flat: true },
  "selectiveScan()": {
    run: ({ x, z, gX, bN, cN }, { a, d, bias }, o) =>
      selectiveScan(x, gX, a, bN, cN, { ...o, d, z, deltaBias: bias, deltaSoftplus: true }),
    flat: true,
  },
  "mlstm()": { run: ({ q, k, v, i, f }, _, o) => mlstm(q, k, v, i, f, o), turned: ["c"] },
  "mlstm() with sigmoid": {
    run: ({ q, k, v, i, f }, _, o) => mlstm(q, k, v, i, f, { ...o, gate: "sigmoid" }),
    turned: ["c"],
  },
  "logLinearAttention()": {
    run: ({ q, k, v, g, lambda }, _, o) => logLinearAttention(q, k, v, g, lambda, o),
    turned: ["s"],
    reverse: false,
  },
  "tttLinear()": {
    run: ({ q, k, w: v, eta }, { w, b }, o) =>
      tttLinear(q, k, v, w, b, eta, { ...o, miniBatch: 4 }),
    turned: ["w"],
    reverse: false,
  },
  "titansMemory()": {
    run: ({ q, k, v, beta: theta, eta, alpha }, _, o) =>
      titansMemory(q, k, v, { ...o, theta, eta, alpha, miniBatch: 4 }),
    turned: ["m", "s"],
    reverse: false,
  },
  "causalConv1d()": {
    run: ({ x }, { conv, bias }, o) => causalConv1d(x, conv, { ...o, bias, activation: "silu" }),
    reverse: false,
    flat: true,
    state: "state",
  },
};

/** The tensors of a state by name. */
function partsOf(state: unknown): Record<string, ReferenceTensor> {
  const record = state as State;
  return "data" in record ? { state: record as ReferenceTensor } : record;
}

/** Some rows of all inputs, given by how many there are: 12, or 24 where a token has two. */
function pick(all: Inputs, rowsOf: (length: number) => number[]): Inputs {
  const entries = Object.entries(all).map(([name, { data, shape: [, length, ...axes] }]) => {
    const size = data.length / length;
    const rows = rowsOf(length);
    const part = rows.flatMap((row) => Array.from(data.subarray(row * size, (row + 1) * size)));
    return [name, { data: Float64Array.from(part), shape: [1, rows.length, ...axes] }];
  });
  return Object.fromEntries(entries);
}

/** The tokens from `start` to `end`. */
function part(all: Inputs, start: number, end: number): Inputs {
  return pick(all, (length) => {
    const steps = length / 12;
    return Array.from({ length: (end - start) * steps }, (_, index) => start * steps + index);
  });
}

/** A state or its opposite layout. */
function turn(state: unknown, names: string[]): unknown {
  const turned = Object.entries(partsOf(state)).map(([name, x]) => {
    if (!names.includes(name)) return [name, x];
    const [rows, columns] = x.shape.slice(-2);
    const data = Float64Array.from(x.data, (_, index) => {
      const [e, d] = [Math.floor(index / rows) % columns, index % rows];
      return x.data[Math.floor(index / rows / columns) * rows * columns + d * columns + e];
    });
    return [name, { data, shape: [...x.shape.slice(0, -2), columns, rows] }];
  });
  const record = Object.fromEntries(turned);
  return record.state ?? record;
}

for (
  const [name, { run, turned, reverse, flat, state = "initialState" }] of Object.entries(FAMILIES)
) {
  const all = inputs(1, 1, 12);
  const fixed = weights();
  const directions = reverse === false ? [false] : [false, true];

  Deno.test(`${name} resumed is the whole`, () => {
    for (const backwards of directions) {
      const order = { finalState: true, ...(backwards ? { reverse: true } : {}) };
      const whole = run(all, fixed, order);
      for (const border of [4, 8]) {
        const halves = [part(all, 0, border), part(all, border, 12)];
        const [early, late] = backwards ? halves.reverse() : halves;
        const before = run(early, fixed, order);
        const after = run(late, fixed, { ...order, [state]: before.finalState });
        const [head, tail] = backwards ? [after, before] : [before, after];
        const out = [...head.out.data, ...tail.out.data];
        assertClose("out", out, whole.out.data, { ratio: 1e-13 });
        const expected = Object.entries(partsOf(whole.finalState));
        for (const [key, x] of Object.entries(partsOf(after.finalState))) {
          const same = expected.find(([other]) => other === key)?.[1];
          assertEquals(x.shape, same?.shape);
          assertClose(`state ${key}`, x.data, same?.data ?? [], { ratio: 1e-13 });
        }
      }
    }
  });

  Deno.test(`${name} packed is each sequence alone`, () => {
    const bounds = [0, 5, 5, 6, 12];
    for (const backwards of directions) {
      const order = { finalState: true, ...(backwards ? { reverse: true } : {}) };
      const cuSeqlens = { data: bounds, shape: [5] };
      const packed = run(all, fixed, { ...order, cuSeqlens });
      const alone = bounds.slice(1).map((end, n) => run(part(all, bounds[n], end), fixed, order));
      assertEquals(Array.from(packed.out.data), alone.flatMap(({ out }) => Array.from(out.data)));
      for (const [key, x] of Object.entries(partsOf(packed.finalState))) {
        const states = alone.flatMap(({ finalState }) => Array.from(partsOf(finalState)[key].data));
        assertEquals(Array.from(x.data), states, key);
        assertEquals(x.shape[0], 4);
      }
    }
  });

  Deno.test(`${name} runs the batch row by row`, () => {
    const two = inputs(2, 2, 6);
    const packed = Object.entries(two).map((
      [key, { data, shape: [, length, ...axes] }],
    ) => [key, { data, shape: [1, 2 * length, ...axes] }]);
    const cuSeqlens = { data: [0, 6, 12], shape: [3] };
    const options = { finalState: true };

    const rows = run(two, fixed, options);
    const sequences = run(Object.fromEntries(packed), fixed, { ...options, cuSeqlens });

    assertEquals(rows.out.data, sequences.out.data);
    assertEquals(rows.finalState, sequences.finalState);
    assertEquals(Object.keys(run(two, fixed, {})), ["out"]);
  });

  if (reverse !== false) {
    Deno.test(`${name} in reverse is all of it turned around`, () => {
      const around = pick(all, (length) => Array.from({ length }, (_, row) => length - 1 - row));
      const forwards = run(around, fixed, { finalState: true });
      const backwards = run(all, fixed, { finalState: true, reverse: true });
      const size = forwards.out.data.length / 12;
      const rows = Array.from(
        { length: 12 },
        (_, t) => forwards.out.data.slice(t * size).slice(0, size),
      );
      assertEquals(Array.from(backwards.out.data), rows.reverse().flatMap((row) => [...row]));
      assertEquals(backwards.finalState, forwards.finalState);
    });
  }

  if (!flat) {
    Deno.test(`${name} groups heads`, () => {
      const spread = (x: Float64Tensor, axis: number): Float64Tensor => {
        const size = x.shape.slice(axis + 1).reduce((product, length) => product * length, 1);
        const heads = x.shape[axis];
        const data = Array.from({ length: x.data.length / heads * 4 }, (_, index) => {
          const [row, h] = [Math.floor(index / size / 4), Math.floor(index / size) % 4];
          return x.data[(row * heads + Math.floor(h * heads / 4)) * size + index % size];
        });
        const shape = x.shape.map((length, at) => at === axis ? 4 : length);
        return { data: Float64Array.from(data), shape };
      };
      const each = <X extends object>(tensors: X, axis: number) =>
        Object.fromEntries(
          Object.entries(tensors).map((
            [key, x],
          ) => [key, x.shape.length > axis ? spread(x, axis) : x]),
        ) as X;
      const expected = run(each(all, 2), each(fixed, 0), {});
      assertEquals(run(all, fixed, {}).out, expected.out);
    });
  }

  if (turned) {
    Deno.test(`${name} turns its states with stateLayout`, () => {
      const before = run(part(all, 0, 4), fixed, { finalState: true });
      const late = part(all, 4, 12);
      const kv = run(late, fixed, { finalState: true, [state]: before.finalState });
      const vk = run(late, fixed, {
        finalState: true,
        stateLayout: "vk",
        [state]: turn(before.finalState, turned),
      });
      assertEquals(kv.out, vk.out);
      assertEquals(vk.finalState, turn(kv.finalState, turned));
    });
  }
}
