import { figure } from "../output.ts";
import type { Profile } from "./document.ts";

/** A column of a table of profiles; one without any cell is left out. */
export interface Column {
  readonly head: string;
  cell(profile: Profile): string | undefined;
}

/** The columns of every profile. */
export const COLUMNS: readonly Column[] = [
  { head: "problem", cell: ({ name }) => name },
  { head: "median ms", cell: ({ medianMs }) => figure(medianMs) },
  { head: "min", cell: ({ minMs }) => figure(minMs) },
  { head: "p90", cell: ({ p90Ms }) => figure(p90Ms) },
  { head: "GFLOP/s", cell: ({ gflops }) => figure(gflops) },
  { head: "GB/s", cell: ({ gbps }) => figure(gbps) },
  { head: "FLOP/byte", cell: ({ roofline }) => figure(roofline.intensity) },
  { head: "bound by", cell: ({ roofline }) => roofline.bound },
  { head: "of ceiling", cell: (p) => withUnit(100 * p.fractionOfCeiling, "%") },
  { head: "error", cell: ({ rmsErrorRatio }) => figure(rmsErrorRatio) },
];

/** Columns that only some profiles have. */
export const EXTRA_COLUMNS: readonly Column[] = [
  { head: "over naive", cell: (p) => withUnit(p.speedup, "x") },
  { head: "over unfused", cell: (p) => withUnit(p.unfusedMs && p.unfusedMs / p.medianMs, "x") },
  { head: "over dense", cell: (p) => withUnit(p.speedupOverDense, "x") },
  {
    head: "over attention",
    cell: (p) => withUnit(p.attentionMs && p.attentionMs / p.medianMs, "x"),
  },
  { head: "over a loop", cell: (p) => withUnit(p.loopMs && p.loopMs / p.medianMs, "x") },
  { head: "over plain", cell: (p) => withUnit(p.plainMs && p.plainMs / p.medianMs, "x") },
  { head: "map ms", cell: (p) => withUnit(p.mapMs, "") },
  { head: "density", cell: (p) => withUnit(p.density && 100 * p.density, "%") },
  { head: "tiles", cell: (p) => withUnit(p.tileDensity && 100 * p.tileDensity, "%") },
  { head: "bytes/token", cell: (p) => withUnit(p.bytesPerToken, "") },
  { head: "tokens/s", cell: (p) => withUnit(p.tokensPerSecond, "") },
  { head: "work bound", cell: (p) => withUnit(p.workBound, "x") },
  { head: "of bound", cell: (p) => withUnit(p.ratioToBound && 100 * p.ratioToBound, "%") },
];

/** Where operators differ from row to row. */
export const OPERATOR_COLUMN: Column = { head: "operator", cell: ({ operator }) => operator };

/** The schedule that ran. */
export const SCHEDULE_COLUMN: Column = { head: "schedule", cell: ({ schedule }) => schedule };

/** What a page has room for beside the others. */
export const DETAIL_COLUMNS: readonly Column[] = [
  SCHEDULE_COLUMN,
  { head: "runs", cell: ({ runs }) => String(runs) },
  { head: "MFLOP", cell: ({ flops }) => figure(flops / 1e6) },
  { head: "MB", cell: ({ bytes }) => figure(bytes / 1e6) },
  { head: "scratch MB", cell: ({ peakBytes }) => figure(peakBytes / 1e6) },
  { head: "first call ms", cell: ({ compileMs }) => figure(compileMs) },
];

/** A head and a row for each profile. */
export function rowsOf(columns: readonly Column[], profiles: readonly Profile[]): string[][] {
  const present = columns.filter(({ cell }) => profiles.some((p) => cell(p) !== undefined));
  return [
    present.map(({ head }) => head),
    ...profiles.map((p) => present.map(({ cell }) => cell(p) ?? "")),
  ];
}

/** The passes of a call, a row each. */
export function passRowsOf({ passes = [] }: Profile): string[][] {
  return [
    ["pass", "times", "median ms", "min", "share"],
    ...passes.map(({ label, count, medianMs, minMs, share }) => [
      ...[label, String(count), figure(medianMs), figure(minMs)],
      `${figure(100 * share)}%`,
    ]),
  ];
}

function withUnit(value: number | undefined, unit: string): string | undefined {
  return value === undefined ? undefined : figure(value) + unit;
}
