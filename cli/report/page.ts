import { escaped } from "../markup.ts";
import { figure, isNumeric } from "../output.ts";
import {
  COLUMNS,
  DETAIL_COLUMNS,
  EXTRA_COLUMNS,
  OPERATOR_COLUMN,
  passRowsOf,
  rowsOf,
} from "../profile/columns.ts";
import type { Profile, ProfileRun } from "../profile/document.ts";
import { PAGE_STYLE } from "./style.ts";

/** The figures of a page. */
export interface Figures {
  /** SVG elements. */
  readonly roofline: string;
  readonly times?: string;
  /** Who sees whom, as SVG documents with styles of their own. */
  readonly patterns: readonly { readonly caption: string; readonly svg: string }[];
}

/** The page of a run as one HTML document that refers to nothing outside. */
export function pageOf(run: ProfileRun, { roofline, times, patterns }: Figures): string {
  const names = [...new Set(run.profiles.map(({ operator }) => operator))];
  const title = names.length === 1 ? `Profile of ${names[0]}` : "Profile of the built-in set";
  return [
    "<!doctype html>",
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<title>${escaped(title)}</title><style>${PAGE_STYLE}</style></head>`,
    "<body>",
    `<h1>${escaped(title)}</h1>`,
    provenance(run),
    section("Roofline", figureOf(roofline, rooflineCaption(run))),
    ...(times === undefined ? [] : [section("Time", figureOf(times, timesCaption(run)))]),
    section("Problems", tableOf(problemRows(run.profiles)) + `<p>${TABLE_NOTE}</p>`),
    ...passSection(run.profiles),
    ...(patterns.length === 0 ? [] : [section("Who sees whom", patternFigures(patterns))]),
    ...leftOutSection(run),
    "</body>",
    "</html>",
    "",
  ].join("\n");
}

const TABLE_NOTE =
  "Milliseconds of a call on the device, all passes and copies included. FLOPs are those of the " +
  "definition, bytes the inputs and outputs once each. The error is the RMS error over the RMS of " +
  "the float64 result; a problem that exceeds its tolerance is not timed.";

function provenance({ command, date, adapter, profiles }: ProfileRun): string {
  const timer = profiles[0]?.timer ?? "timestamps";
  const entries = { adapter, date: `${date}, times by ${timer}` };
  return [
    "<dl>",
    ...Object.entries(entries).map(([name, text]) => `<dt>${name}</dt><dd>${escaped(text)}</dd>`),
    `<dt>command</dt><dd><code>${escaped(command)}</code></dd>`,
    "</dl>",
  ].join("");
}

function rooflineCaption({ ceilings: { gflops, gbps } }: ProfileRun): string {
  return `The lines are what this adapter reached in this run: ${figure(gflops)} GFLOP/s of ` +
    `multiply-adds on registers, ${figure(gbps)} GB/s of a large copy by a kernel. A problem can ` +
    "come as far up as the line above it; the dotted line is what it leaves. It stands at its share " +
    "of the ceilings as they were in turn with it. Numbers are those of the table.";
}

function timesCaption({ growth }: ProfileRun): string {
  if (growth === undefined) return "";
  const { variable, law: { exponent } } = growth;
  return `Medians, bars from the minimum to the 90th percentile, both axes logarithmic. Time grows ` +
    `as ${variable} to the power of ${figure(exponent)}, the slope of the dashed line.`;
}

function problemRows(profiles: readonly Profile[]): string[][] {
  const columns = [OPERATOR_COLUMN, ...COLUMNS, ...EXTRA_COLUMNS, ...DETAIL_COLUMNS];
  const [head, ...rows] = rowsOf(columns, profiles);
  return [["", ...head], ...rows.map((row, i) => [String(i + 1), ...row])];
}

/** A table of the passes of all problems that have several. */
function passSection(profiles: readonly Profile[]): string[] {
  const several = [...profiles.entries()].filter(([, { passes = [] }]) => passes.length > 1);
  if (several.length === 0) return [];
  const [[, first]] = several;
  const [head] = passRowsOf(first);
  const rows = several.flatMap(([i, profile]) =>
    passRowsOf(profile).slice(1).map((row, pass) => [
      ...(pass === 0 ? [String(i + 1), profile.operator] : ["", ""]),
      ...row,
    ])
  );
  const bars = several.flatMap(([, { passes = [] }]) =>
    passes.map(({ share }) => `<span class="bar" style="width: ${figure(12 * share)}rem"></span>`)
  );
  return [section("Passes", tableOf([["", "operator", ...head], ...rows], bars))];
}

function patternFigures(patterns: Figures["patterns"]): string {
  const figures = patterns.map(({ caption, svg }) => {
    const source = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    return figureOf(`<img alt="${escaped(caption)}" src="${source}">`, caption);
  });
  return `<div class="patterns">${figures.join("\n")}</div>`;
}

function leftOutSection({ leftOut }: ProfileRun): string[] {
  if (leftOut.length === 0) return [];
  const rows = leftOut.map(({ operator, name, reason }) => [operator, name, reason]);
  return [section("Left out", tableOf([["operator", "problem", "reason"], ...rows]))];
}

function section(title: string, body: string): string {
  return `<section><h2>${title}</h2>\n${body}\n</section>`;
}

function figureOf(picture: string, caption: string): string {
  return `<figure>${picture}<figcaption>${escaped(caption)}</figcaption></figure>`;
}

/** Rows as a table, the first one its head; `bars` stand behind the others. */
function tableOf(
  [head, ...rows]: readonly (readonly string[])[],
  bars?: readonly string[],
): string {
  const numeric = head.map((_, column) => rows.every((row) => isNumeric(row[column])));
  const cellOf = (tag: string) => (text: string, column: number) =>
    `<${tag}${numeric[column] ? ' class="number"' : ""}>${escaped(text)}</${tag}>`;
  return [
    '<div class="scroll"><table>',
    `<thead><tr>${head.map(cellOf("th")).join("")}${bars ? "<th></th>" : ""}</tr></thead>`,
    "<tbody>",
    ...rows.map((row, i) =>
      `<tr>${row.map(cellOf("td")).join("")}${bars ? `<td>${bars[i]}</td>` : ""}</tr>`
    ),
    "</tbody></table></div>",
  ].join("\n");
}
