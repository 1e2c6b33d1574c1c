import * as Plot from "@observablehq/plot";
import { DOMParser } from "linkedom";
import { hex, INK, PAPER, type Rgb, toneOf } from "../pattern/palette.ts";

/** What a chart is made of. */
export interface Chart extends Plot.PlotOptions {
  /** What it shows, for readers who cannot see it. */
  readonly title: string;
  readonly width: number;
  readonly height: number;
}

/** Ink and paper turn with the reader's preference; hues are legible on both. */
const STYLE = [
  rules(INK.light, PAPER.light),
  `@media (prefers-color-scheme: dark) { ${rules(INK.dark, PAPER.dark)} }`,
].join(" ");

function rules(ink: Rgb, paper: Rgb): string {
  return `.chart { color: ${hex(ink)}; background: ${hex(paper)}; --paper: ${hex(paper)}; }`;
}

/**
 * A chart as an SVG element, which is a document of its own too.
 *
 * Plot renders into a DOM that exists in memory only.
 */
export function svgOf({ title, ...options }: Chart): string {
  const document = new DOMParser().parseFromString("<html></html>", "text/html");
  const svg = Plot.plot({ ...options, document, className: "chart", ariaLabel: title });
  svg.insertAdjacentHTML("beforeend", `<style>${STYLE}</style>`);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  return svg.outerHTML;
}

/** A logarithmic axis with numbers that readers can place. */
export function logScale(label: string, domain: readonly [number, number]): Plot.ScaleOptions {
  return { type: "log", domain, label, labelAnchor: "center", ticks: logTicks(domain), tickFormat };
}

/** 1, 2 and 5 of each decade, or its 1 alone where there are many decades. */
function logTicks([first, last]: readonly [number, number]): number[] {
  const [low, high] = [Math.floor(Math.log10(first)), Math.ceil(Math.log10(last))];
  const digits = high - low > 3 ? [1] : [1, 2, 5];
  return Array.from({ length: high - low + 1 }, (_, i) => digits.map((d) => d * 10 ** (low + i)))
    .flat().filter((tick) => tick >= first && tick <= last);
}

function tickFormat(tick: number): string {
  return tick >= 1 ? tick.toLocaleString("en") : String(Number(tick.toPrecision(1)));
}

/** A colour that tells the n-th group from its neighbours. */
export function colourOf(n: number): string {
  return hex(toneOf(n, "seen").light);
}
