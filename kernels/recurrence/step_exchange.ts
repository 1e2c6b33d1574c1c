import {
  erasingRows,
  ownRow,
  ownSum,
  type RowConfig,
  type RowName,
  type RowTexts,
  writingRows,
} from "./step_rows.ts";

/** How a step is laid out. */
export interface StepTile {
  /**
   * How what a row has reaches the columns: through workgroup memory, or through a subgroup, by
   * `subgroupShuffle` in a loop or `subgroupBroadcast` in unrolled text.
   */
  readonly exchange: "workgroup" | "shuffle" | "broadcast";
  /** vec4 columns of a workgroup, which is a subgroup of so many lanes or has SLICES times as many. */
  readonly lanes: number;
}

/** A way to compute what each row of the state has once, and to hand it to all columns. */
interface StepExchange {
  /** Variables of the module. */
  readonly memory: string;
  /** What comes before the rows are walked. */
  readonly before: string;
  /** What is read of row d. */
  readonly row: RowTexts;
  /** The loop over the rows d of an invocation, with what its body reads of them. */
  readonly walk: (names: readonly RowName[], body: string) => string;
  /** Adds up what the invocations of a column found. */
  readonly sumOfColumn: (sum: string) => string;
  /** Adds up what all invocations found, a number each. */
  readonly sumOfAll: (sum: string) => string;
}

/** The mathematics, the tile, and K. */
interface ExchangeConfig extends RowConfig, StepTile {
  readonly keyDim: number;
}

/** Invocations of a column, each with every so-many-th row of the state. */
export function slicesOf({ exchange }: Pick<StepTile, "exchange">): number {
  return exchange === "workgroup" ? 8 : 1;
}

/** The exchange of a tile. */
export function stepExchange(config: ExchangeConfig): StepExchange {
  return config.exchange === "workgroup" ? workgroup(config) : subgroup(config);
}

const STAGED: RowTexts = {
  ...{ key: "key[d]", decay: "decay[d]", eraser: "eraser[d]", erased: "erased[d]" },
  ...{ bonus: "bonus[d]", query: "query[r * KEYS + d]" },
};

/** Texts about the shares of a sum. */
type Sum = Readonly<Record<"zero" | "part" | "first" | "step", string>>;

const SUM_OF_COLUMN: Sum = { zero: "vec4f()", part: "", first: "lane % COLUMNS", step: "COLUMNS" };
const SUM_OF_ALL: Sum = { zero: "0.0", part: ".x", first: "0u", step: "1u" };

/** All rows are computed first, by an invocation each. */
function workgroup(config: RowConfig): StepExchange {
  const names = [...new Set([...erasingRows(config), ...writingRows(config)])];
  const rows = names.map((name) =>
    `var<workgroup> ${name}: array<f32, ${name === "query" ? "GROUP * KEYS" : "KEYS"}>;`
  );
  const added = (sum: string, { zero, part, first, step }: Sum): string => /* wgsl */ `
  shares[lane]${part} = ${sum};
  workgroupBarrier();
  ${sum} = ${zero};
  for (var i = ${first}; i < THREADS; i += ${step}) { ${sum} += shares[i]${part}; }
  workgroupBarrier();`;
  return {
    memory: [...rows, "var<workgroup> shares: array<vec4f, THREADS>;"].join("\n"),
    before: /* wgsl */ `
  for (var d = lane; d < KEYS; d += THREADS) {
    ${names.includes("decay") ? "decay[d] = 1.0;" : ""}
    if there {
      ${ownRow(names, STAGED)}
    }
    ${config.normalize ? ownSum(config, STAGED) : ""}
  }
  workgroupBarrier();`,
    row: STAGED,
    walk: (_, body) => /* wgsl */ `
  for (var d = lane / COLUMNS; d < KEYS; d += SLICES) {
    ${body}
  }`,
    sumOfColumn: (sum) => added(sum, SUM_OF_COLUMN),
    sumOfAll: (sum) => added(sum, SUM_OF_ALL),
  };
}

const OWN: RowTexts = {
  ...{ key: "own_key", decay: "own_decay", eraser: "own_eraser", erased: "own_erased" },
  ...{ bonus: "own_bonus", query: "own_query[r]" },
};

/** As many rows as there are lanes are computed at a time, by a lane each. */
function subgroup(config: ExchangeConfig): StepExchange {
  const { exchange, lanes, keyDim, normalize } = config;
  const whole = keyDim % lanes === 0;
  const hand = exchange === "shuffle" ? "subgroupShuffle" : "subgroupBroadcast";
  const handed = Object.entries(OWN).map(([name, own]) => [name, `${hand}(${own}, j)`]);
  const rows = (body: string): string =>
    exchange === "shuffle"
      ? /* wgsl */ `
    for (var j = 0u; j < ${whole ? "COLUMNS" : "min(COLUMNS, KEYS - d0)"}; j++) {
      let d = d0 + j;
      ${body}
    }`
      : /* wgsl */ `
    @unroll for (var j = 0u; j < COLUMNS; j++) {
      let d = d0 + j;
      ${whole ? body : `if d < KEYS { ${body} }`}
    }`;
  return {
    memory: "",
    before: "",
    row: Object.fromEntries(handed) as Record<RowName, string>,
    walk: (names, body) => /* wgsl */ `
  for (var d0 = 0u; d0 < KEYS; d0 += COLUMNS) {
    ${names.map(declared).join(" ")}
    {
      let d = d0 + lane;
      if there ${whole ? "" : "&& d < KEYS "}{
        ${ownRow(names, OWN)}
      }
      ${normalize && names.includes("query") ? `if d < KEYS { ${ownSum(config, OWN)} }` : ""}
    }
    ${rows(body)}
  }`,
    sumOfColumn: () => "",
    sumOfAll: (sum) => `${sum} = subgroupAdd(${sum});`,
  };
}

function declared(name: RowName): string {
  return name === "query"
    ? "@registers var own_query: array<f32, GROUP>;"
    : `var ${OWN[name]} = ${name === "decay" ? "1.0" : "0.0"};`;
}
