import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import {
  attention,
  type AttentionOptions,
  compileBlockMap,
  type Gpu,
  HookError,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu();
const small = adapter === null
  ? null
  : await requestGpu({ limits: { maxStorageBufferBindingSize: 1 << 16 } });

/** The device of these tests. */
function gpu(): Gpu {
  assert(shared !== null);
  return shared;
}

function zeros(shape: number[], on: Gpu = gpu()): Tensor<"f32"> {
  return on.tensor(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape);
}

function i32(shape: number[], ...data: number[]): Tensor<"i32"> {
  return gpu().tensor(Int32Array.from(data), shape);
}

/** A call of B 2, T 4, S 6, Hq 4, Hkv 2, D 8. */
interface Call {
  q?: Tensor<"f32">;
  k?: Tensor<"f32">;
  v?: Tensor<"f32">;
  options: unknown;
}

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  make: () => Call,
  kind: typeof TypeError | typeof RangeError,
  message: string,
): void {
  Deno.test({
    name: `attention() throws when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const { options, q, k, v } = make();
        const inputs = [q ?? zeros([2, 4, 4, 8]), k ?? zeros([2, 6, 2, 8])];
        const last = v ?? k ?? zeros([2, 6, 2, 8]);
        const before = gpu().memory();

        const error = assertThrows(
          () => attention(inputs[0], inputs[1], last, options as AttentionOptions),
          kind,
        );

        assertEquals(error.message, message);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const given = (options: unknown) => (): Call => ({ options });
const typeError = (
  when: string,
  make: () => Call,
  rule: string,
): void => testRefusal(when, make, TypeError, `Cannot compute attention as ${rule}`);
const rangeError = (
  when: string,
  make: () => Call,
  rule: string,
): void => testRefusal(when, make, RangeError, `Cannot compute attention as ${rule}`);

/** Tests that a hook is refused at a place of its text. */
function testHookError(
  when: string,
  options: () => AttentionOptions,
  place: { fault: string; line: number; column: number },
): void {
  Deno.test({
    name: `attention() points into the hook when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const [q, k] = [zeros([2, 4, 4, 8]), zeros([2, 6, 2, 8])];
        const given = options();
        const before = gpu().memory();

        const error = assertThrows(() => attention(q, k, k, given), HookError);

        assertEquals(error.message.split(": line ")[0], `Cannot compile ${place.fault}`);
        assertEquals([error.line, error.column], [place.line, place.column]);
        assertInstanceOf(error, TypeError);
        assertEquals(gpu().memory(), before);
      });
    },
  });
}

testHookError("a score is no WGSL", () => ({ score: "s +\n  * 2" }), {
  ...{ fault: 'the score as a value must stand before "*"', line: 2, column: 3 },
});
testHookError("a name is not declared", () => ({ mask: "j <= i\n  && ii > 0" }), {
  ...{ fault: 'the mask as ii is not declared, the nearest is "i"', line: 2, column: 6 },
});
testHookError("a mask names a score", () => ({ mask: "s > 0" }), {
  ...{ fault: 'the mask as s is not declared, the nearest is "b"', line: 1, column: 1 },
});
testHookError("a mask is a number", () => ({ mask: "i - j" }), {
  ...{
    fault: "the mask as the mask must be bool, i - j is i32: write bool(i - j)",
    line: 1,
    column: 1,
  },
});
testHookError("types do not fit", () => ({ score: "s - i" }), {
  ...{
    fault: "the score as - takes operands of one type, s is f32 and i is i32: write f32(i)",
    line: 1,
  },
  column: 3,
});
testHookError("a weight names a place", () => ({ weight: { code: "s * h" } }), {
  ...{ fault: 'the weight as h is not declared, the nearest is "s"', line: 1, column: 5 },
});
testHookError("a let has a reserved word", () => ({ score: "let target = 1.0;\ns + target" }), {
  ...{
    fault: 'the score as "target" names a let and must not be a reserved word of WGSL',
    line: 1,
    column: 5,
  },
});
testHookError("a hook is empty", () => ({ score: ["s", "  "] }), {
  ...{ fault: "the score as it must not be empty", line: 1, column: 1 },
});
testHookError(
  "a table has other axes",
  () => ({ score: "s + table(h)", inputs: { table: zeros([2, 2]) } }),
  {
    fault: "the score as table has rank 2 and is read as table(i0, i1), the call has 1 index",
    line: 1,
    column: 5,
  },
);
testHookError(
  "a table is no call",
  () => ({ score: "s + table", inputs: { table: zeros([2]) } }),
  { fault: "the score as table is an input of rank 1, write table(i)", line: 1, column: 5 },
);
testHookError(
  "a number is called",
  () => ({ score: "s + tau(h)", inputs: { tau: 2 } }),
  { fault: "the score as tau is a variable and cannot be called", line: 1, column: 5 },
);
testHookError(
  "a hook names what another one reads",
  () => ({ score: [{ code: "s + table(h)", inputs: { table: zeros([2]) } }, "s * table(h)"] }),
  { fault: 'the score as table is not declared, the nearest is "abs"', line: 1, column: 5 },
);

typeError(
  "a score is a number",
  given({ score: 3 }),
  "score must be WGSL text, { code, inputs } or an array of them: it is 3",
);
typeError(
  "one of the masks is null",
  given({ mask: ["j <= i", null] }),
  "mask must be WGSL text, { code, inputs } or an array of them: it is null",
);
typeError(
  "a mask is a tensor",
  () => ({ options: { mask: zeros([4, 6]) } }),
  "mask must be WGSL text, { code, inputs } or an array of them: it is Tensor",
);
testRefusal(
  "a score has an unknown key",
  given({ score: { code: "s", input: {} } }),
  TypeError,
  'Cannot compute attention with a score as options must be known: "input" is not, the nearest is "inputs"',
);
testRefusal(
  "a score has no code",
  given({ score: {} }),
  TypeError,
  "Cannot compile the score as it must be text: it is a undefined",
);
for (
  const [when, inputs, found] of [
    ["null", null, "null"],
    ["a number", 3, "3"],
    ["an array", [], "Array"],
  ] as const
) {
  typeError(
    `inputs are ${when}`,
    given({ score: "s", inputs }),
    `inputs must be an object of tensors and numbers by name: inputs is ${found}`,
  );
  typeError(
    `inputs of a mask are ${when}`,
    given({ mask: { code: "j <= i", inputs } }),
    `inputs must be an object of tensors and numbers by name: inputs is ${found}`,
  );
}
typeError(
  "inputs are a tensor",
  () => ({ options: { score: "s", inputs: zeros([2]) } }),
  "inputs must be an object of tensors and numbers by name: inputs is Tensor",
);
for (
  const [name, rule] of [
    ["s", "must not be a variable of hooks"],
    ["b", "must not be a variable of hooks"],
    ["tanh", "must not be a built-in function"],
    ["target", "must not be a reserved word of WGSL"],
    ["vec4f", "must not be a reserved word of WGSL"],
    ["__x", "must not be _ or start with two underscores"],
    ["hook_x", "must not start with hook_"],
    ["my-table", "must be letters, digits and underscores"],
  ]
) {
  testRefusal(
    `an input is called ${name}`,
    given({ score: "s", inputs: { [name]: 1 } }),
    TypeError,
    `Cannot read an input in hooks as its name ${rule}: name is "${name}"`,
  );
}
typeError(
  "an input is text",
  given({ score: "s", inputs: { tau: [1] } }),
  "inputs.tau must be a Tensor or a finite f32: it is Array",
);
typeError(
  "a number is not finite in f32",
  given({ score: "s", inputs: { tau: 1e39 } }),
  "inputs.tau must be a Tensor or a finite f32: it is 1e+39",
);
typeError(
  "an input has no axis",
  () => ({ options: { score: "s", inputs: { tau: zeros([]) } } }),
  "inputs.tau must have an axis and an element: it is []",
);
typeError(
  "an input has no element",
  () => ({ options: { score: "s", inputs: { tau: zeros([2, 0]) } } }),
  "inputs.tau must have an axis and an element: it is [2,0]",
);
typeError(
  "two inputs have one name",
  given({
    score: { code: "s * tau", inputs: { tau: 1 } },
    mask: { code: "f32(i) > tau", inputs: { tau: 2 } },
  }),
  "an input must be one thing in all hooks of a call: tau is two",
);
typeError(
  "an input was disposed",
  () => {
    const table = zeros([2]);
    table.dispose();
    return { options: { score: "s + table(h)", inputs: { table } } };
  },
  "inputs.table must be live: inputs.table [2] was disposed",
);
typeError(
  "a weight is a number",
  given({ weight: 2 }),
  "weight must be softmax, sigmoid, softplus, relu, elu1, none, stickBreaking, WGSL text or { code, normalize }: weight is 2",
);
rangeError(
  "a weight is unknown",
  given({ weight: "softmaks" }),
  'weight must be one of softmax, sigmoid, softplus, relu, elu1, none, stickBreaking, or WGSL text: "softmaks" is not, the nearest is "softmax"',
);
testRefusal(
  "a weight has an unknown key",
  given({ weight: { code: "s", normalise: true } }),
  TypeError,
  'Cannot compute attention with a weight as options must be known: "normalise" is not, the nearest is "normalize"',
);
typeError(
  "normalize is a number",
  given({ weight: { code: "s", normalize: 1 } }),
  "weight.normalize must be true or false: it is 1",
);
testRefusal(
  "a weight has no code",
  given({ weight: { normalize: true } }),
  TypeError,
  "Cannot compile the weight as it must be text: it is a undefined",
);
typeError(
  "weight and normalizer are given",
  given({ weight: "relu", normalizer: "sigmoid" }),
  "weight and normalizer must not both be given: they are",
);
typeError(
  "sinks come with another weight",
  () => ({ options: { weight: "sigmoid", sinks: zeros([4]) } }),
  "sinks must come with the weight softmax: the weight is another",
);
typeError(
  "lse comes with another weight",
  given({ weight: "relu", lse: true }),
  "lse must come with the weight softmax: the weight is another, ask for aux",
);
typeError("aux is no boolean", given({ aux: 1 }), "aux must be true or false: aux is 1");

/** A map of the problem of these tests, with changes. */
function map(changes: Partial<Parameters<typeof compileBlockMap>[2]> = {}) {
  return compileBlockMap(gpu(), "j <= i", { qLen: 4, kvLen: 6, ...changes });
}

typeError(
  "a block map is an object",
  given({ blockMap: {} }),
  "blockMap must be a BlockMap: blockMap is Object",
);
typeError(
  "a block map was disposed",
  () => {
    const blockMap = map();
    blockMap.dispose();
    return { options: { blockMap } };
  },
  "blockMap must be live: it was disposed",
);
for (
  const [sizes, found] of [
    [{ qLen: 5 }, "1, 1, 5, 6"],
    [{ kvLen: 5 }, "1, 1, 4, 5"],
    [{ batch: 3 }, "3, 1, 4, 6"],
    [{ heads: 3 }, "1, 3, 4, 6"],
  ] as const
) {
  typeError(
    `a block map is of another ${Object.keys(sizes)}`,
    () => ({ options: { blockMap: map(sizes) } }),
    `blockMap must be of [B|1, H, T, S] = [2|1, a divisor of 4, 4, 6]: it is of [${found}]`,
  );
}
for (const beside of [{ mask: "j <= i" }, { causal: true }, { window: { left: 2 } }]) {
  typeError(
    `${Object.keys(beside)} stands beside a block map`,
    () => ({ options: { blockMap: map(), ...beside } }),
    "mask, causal and window must be part of the mask of blockMap: they are given beside it",
  );
}
typeError(
  "a block map reads what was disposed",
  () => {
    const table = zeros([2]);
    const mask = { code: "table(h) >= 0.0", inputs: { table } };
    const blockMap = compileBlockMap(gpu(), mask, { qLen: 4, kvLen: 6 });
    table.dispose();
    return { options: { blockMap } };
  },
  "inputs.table must be live: inputs.table [2] was disposed",
);
typeError(
  "a block map reads another thing of a name",
  () => {
    const mask = { code: "f32(j) < tau", inputs: { tau: 3 } };
    const blockMap = compileBlockMap(gpu(), mask, { qLen: 4, kvLen: 6 });
    return { options: { blockMap, score: "s * tau", inputs: { tau: 2 } } };
  },
  "an input must be one thing in all hooks of a call: tau is two",
);

const row = (): Tensor<"f32"> => zeros([1, 6, 2, 8]);
const packed = (options: () => unknown) => (): Call => ({
  ...{ q: zeros([1, 6, 4, 8]), k: row(), v: row(), options: options() },
});
typeError(
  "packed sequences have a batch",
  () => ({ options: { cuSeqlensQ: i32([2], 0, 4) } }),
  "cuSeqlensQ needs a batch of 1: current batch is 2",
);
rangeError(
  "packed sequences end early",
  packed(() => ({ cuSeqlensQ: i32([3], 0, 2, 5) })),
  "cuSeqlensQ must rise from 0 to T = 6: cuSeqlensQ is [0,2,5]",
);
rangeError(
  "packed sequences fall",
  packed(() => ({ cuSeqlensQ: i32([4], 0, 4, 2, 6) })),
  "cuSeqlensQ must rise from 0 to T = 6: cuSeqlensQ is [0,4,2,6]",
);
rangeError(
  "packed sequences begin late",
  packed(() => ({ cuSeqlensQ: i32([2], 0, 6), cuSeqlensKv: i32([2], 1, 6) })),
  "cuSeqlensKv must rise from 0 to S = 6: cuSeqlensKv is [1,6]",
);
rangeError(
  "queries and keys of one cuSeqlens differ",
  () => ({ q: zeros([1, 4, 4, 8]), k: row(), options: { cuSeqlensQ: i32([2], 0, 4) } }),
  "cuSeqlensQ must rise from 0 to S = 6: cuSeqlensQ is [0,4]",
);
typeError(
  "numbers of sequences differ",
  packed(() => ({ cuSeqlensQ: i32([2], 0, 6), cuSeqlensKv: i32([3], 0, 3, 6) })),
  "cuSeqlensQ and cuSeqlensKv must share a number of sequences: current values are cuSeqlensQ=1, cuSeqlensKv=2",
);
typeError(
  "packed sequences are floats",
  packed(() => ({ cuSeqlensQ: zeros([2]) })),
  "cuSeqlensQ must be i32: cuSeqlensQ is f32",
);
typeError(
  "packed sequences were computed",
  packed(() => ({ cuSeqlensQ: gpu().empty([2], "i32") })),
  "cuSeqlensQ must be made from data by gpu.tensor(), for plans depend on it: it was computed or wrapped",
);
typeError(
  "keys are packed and queries are not",
  packed(() => ({ cuSeqlensKv: i32([2], 0, 6) })),
  "cuSeqlensKv must come with cuSeqlensQ: it comes alone",
);
typeError(
  "packed sequences have a block map",
  packed(() => ({ cuSeqlensQ: i32([2], 0, 6), blockMap: map({ qLen: 6 }) })),
  "blockMap and cuSeqlensQ must not both be given: they are",
);
typeError(
  "packed sequences have lengths",
  packed(() => ({ cuSeqlensQ: i32([2], 0, 6), kvLengths: i32([1], 3) })),
  "kvLengths must not come with cuSeqlensQ: it does",
);
typeError(
  "a block map has lengths",
  () => ({ options: { blockMap: map(), kvLengths: i32([2], 3, 4) } }),
  "kvLengths must not come with blockMap: it does",
);

const pages = (): Tensor<"f32"> => zeros([5, 3, 2, 8]);
const paged = (options: () => object) => (): Call => ({
  ...{ k: pages(), v: pages(), options: options() },
});
const PAGE_TABLE = (): Tensor<"i32"> => i32([2, 2], 0, 1, 2, 3);
typeError(
  "pages and lists are given",
  paged(() => ({ pageTable: PAGE_TABLE(), keyIndices: PAGE_TABLE() })),
  "pageTable and keyIndices must not both be given: they are",
);
rangeError(
  "the page table names a page that is not there",
  paged(() => ({ pageTable: i32([2, 2], 0, 1, 5, 3) })),
  "pageTable must be >= 0 and < 5: element 2 is 5",
);
rangeError(
  "the page table names a negative page",
  paged(() => ({ pageTable: i32([2, 2], 0, -1, 2, 3) })),
  "pageTable must be >= 0 and < 5: element 1 is -1",
);
typeError(
  "the page table is of another batch",
  paged(() => ({ pageTable: i32([1, 2], 0, 1) })),
  "pageTable must be [B, M] or [B, H, M] with B = 2 and H a divisor of 4: pageTable is [1,2]",
);
typeError(
  "the page table has heads that do not divide",
  paged(() => ({ pageTable: i32([2, 3, 1], 0, 1, 2, 3, 4, 0) })),
  "pageTable must be [B, M] or [B, H, M] with B = 2 and H a divisor of 4: pageTable is [2,3,1]",
);
typeError(
  "the page table has heads and another batch",
  paged(() => ({ pageTable: i32([1, 2, 1], 0, 1) })),
  "pageTable must be [2,2,1]: pageTable is [1,2,1]",
);
typeError(
  "the page table is f32",
  paged(() => ({ pageTable: zeros([2, 2]) })),
  "pageTable must be i32: pageTable is f32",
);
typeError(
  "pages have no token",
  () => ({ k: zeros([5, 0, 2, 8]), options: { pageTable: PAGE_TABLE() } }),
  "k must have a page with a token where there is a pageTable: k is [5,0,2,8]",
);
typeError(
  "k and v have other pages",
  () => ({ k: pages(), v: zeros([4, 3, 2, 8]), options: { pageTable: PAGE_TABLE() } }),
  "k and v must share a number of pages: current values are k=5, v=4",
);
typeError(
  "k and v have pages of other sizes",
  () => ({ k: pages(), v: zeros([5, 2, 2, 8]), options: { pageTable: PAGE_TABLE() } }),
  "k and v must share a page size: current values are k=3, v=2",
);
typeError(
  "pages are causal from the top left",
  paged(() => ({ pageTable: PAGE_TABLE(), causal: "top-left" })),
  'causal must be true or false where keys are in a cache: it is "top-left"',
);
typeError(
  "lengths have another shape",
  () => ({ options: { kvLengths: i32([3], 1, 2, 3) } }),
  "kvLengths must be [B] or [B, H] with B = 2 and H a divisor of 4: kvLengths is [3]",
);
typeError(
  "lengths have heads that do not divide",
  () => ({ options: { kvLengths: i32([2, 3], 1, 2, 3, 1, 2, 3) } }),
  "kvLengths must be [B] or [B, H] with B = 2 and H a divisor of 4: kvLengths is [2,3]",
);
typeError(
  "lengths are an array",
  given({ kvLengths: [1, 2] }),
  "kvLengths must be a Tensor: kvLengths is Array",
);
rangeError(
  "a length exceeds the keys",
  () => ({ options: { kvLengths: i32([2], 6, 7) } }),
  "kvLengths must be >= 0 and < 7: element 1 is 7",
);
rangeError(
  "a length exceeds a list",
  () => ({ options: { kvLengths: i32([2], 2, 3), keyIndices: i32([2, 2], 0, 1, 2, 3) } }),
  "kvLengths must be >= 0 and < 3: element 1 is 3",
);
rangeError(
  "a length is negative",
  () => ({ options: { kvLengths: i32([2], -1, 3) } }),
  "kvLengths must be >= 0 and < 7: element 0 is -1",
);
rangeError(
  "a list names a key that is not there",
  () => ({ options: { keyIndices: i32([2, 2], 0, 1, 2, 6) } }),
  "keyIndices must be >= 0 and < 6: element 3 is 6",
);
typeError(
  "a list has one axis",
  () => ({ options: { keyIndices: i32([2], 0, 1) } }),
  "keyIndices must be [B, M] or [B, H, M] with B = 2 and H a divisor of 4: keyIndices is [2]",
);
typeError(
  "a list names keys of none",
  () => ({ k: zeros([2, 0, 2, 8]), options: { keyIndices: gpu().empty([2, 2], "i32") } }),
  "keyIndices must name keys that are there: there are none",
);

Deno.test({
  name: "attention() throws when hooks read more tensors than a shader binds",
  ignore,
  fn() {
    gpu().scope(() => {
      const most = gpu().device.limits.maxStorageBuffersPerShaderStage;
      const [q, k] = [zeros([1, 6, 4, 8]), row()];
      const score = (count: number) => {
        const names = Array.from({ length: count }, (_, n) => `t${n}`);
        const inputs = Object.fromEntries(names.map((name) => [name, zeros([2])]));
        return { score: names.reduce((s, name) => `${s} + ${name}(h)`, "s"), inputs };
      };
      const refuse = (options: AttentionOptions): string =>
        assertThrows(() => attention(q, k, k, options), RangeError).message;
      const rule = (count: number): string =>
        `Cannot compute attention as hooks must read at most ${count} tensors beside the others here: they read`;

      assertEquals(refuse(score(most - 4)), `${rule(most - 5)} ${most - 4}`);
      assertEquals(
        refuse({ ...score(most - 5), blockMap: map({ qLen: 6 }) }),
        `${rule(most - 7)} ${most - 5}`,
      );
      assertEquals(
        refuse({ ...score(most - 6), cuSeqlensQ: i32([2], 0, 6) }),
        `${rule(most - 7)} ${most - 6}`,
      );
    });
  },
});

Deno.test({
  name: "attention() throws when an input of hooks exceeds a binding",
  ignore,
  fn() {
    assert(small !== null);
    small.scope(() => {
      const x = zeros([1, 4, 1, 8], small);
      const table = zeros([1 << 15], small);

      const { message } = assertThrows(
        () => attention(x, x, x, { score: "s + table(j)", inputs: { table } }),
        RangeError,
      );

      assertEquals(
        message,
        "Cannot compute attention as inputs.table must fit one binding, 65536 bytes: it takes 131072",
      );
    });
  },
});

Deno.test({
  name: "attention() throws when hooks or maps live on another device",
  ignore,
  fn() {
    assert(small !== null);
    const other = small;
    const table = zeros([2], other);
    const blockMap = compileBlockMap(other, "j <= i", { qLen: 4, kvLen: 6 });
    gpu().scope(() => {
      const [q, k] = [zeros([2, 4, 4, 8]), zeros([2, 6, 2, 8])];
      const refuse = (options: AttentionOptions): string =>
        assertThrows(() => attention(q, k, k, options), TypeError).message;

      assertEquals(
        refuse({ score: "s + table(h)", inputs: { table } }),
        "Cannot compute attention as tensors must share a device: inputs.table lives on another device than q",
      );
      assertEquals(
        refuse({ blockMap }),
        "Cannot compute attention as blockMap must live on the device of q: it lives on another",
      );
    });
    blockMap.dispose();
    table.dispose();
    assertEquals(other.memory().tensors, 0);
  },
});

Deno.test({
  name: "attention() has no split schedule where heads that share a kv head see other keys",
  ignore,
  fn() {
    gpu().scope(() => {
      const [q, k] = [zeros([2, 4, 4, 8]), zeros([2, 6, 2, 8])];
      const refuse = (options: AttentionOptions): string =>
        assertThrows(() => attention(q, k, k, { ...options, schedule: "split" }), RangeError)
          .message.split(" is not among ", 1)[0];
      const rule = 'Cannot plan attention as schedule must fit the problem and the device: "split"';

      assertEquals(refuse({ blockMap: map({ heads: 4 }) }), rule);
      assertEquals(refuse({ kvLengths: i32([2, 4], ...Array(8).fill(3)) }), rule);
      assertEquals(refuse({ keyIndices: i32([2, 4, 1], ...Array(8).fill(3)) }), rule);
      assertEquals(refuse({ weight: "stickBreaking" }), rule);
    });
  },
});
