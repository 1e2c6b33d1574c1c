import * as Plot from "@observablehq/plot";
import type { Ceilings } from "../ceilings.ts";
import { figure } from "../output.ts";
import type { Profile } from "../profile/document.ts";
import { rooflineOf } from "../profile/roofline.ts";
import { type Chart, colourOf, logScale, svgOf } from "./plot.ts";

/** A problem in the plot. */
interface Point {
  readonly intensity: number;
  readonly gflops: number;
  readonly attainable: number;
  readonly number: string;
  readonly label: string;
  readonly colour: string;
}

const [WIDTH, HEIGHT] = [960, 460];
/** Room for the list of problems: about the width of a character, and the height of a line. */
const [CHARACTER, LINE] = [6.8, 17];

/**
 * The ceilings of a run over arithmetic intensity, and where problems stand below them: at their
 * share of the ceilings that were measured in turn with each, as a machine may change its pace.
 */
export function rooflineChart(profiles: readonly Profile[], ceilings: Ceilings): string {
  const points = pointsOf(profiles, ceilings);
  const ridge = ceilings.gflops / ceilings.gbps;
  const intensities = [...points.map(({ intensity }) => intensity), ridge];
  const [first, last] = [Math.min(...intensities) / 3, Math.max(...intensities) * 3];
  const lowest = Math.min(...points.map(({ gflops }) => gflops), first * ceilings.gbps);
  const roof = [first, ridge, last].map((x) => [x, Math.min(ceilings.gflops, x * ceilings.gbps)]);
  const listed = Math.max(...points.map(({ label }) => label.length)) * CHARACTER + 40;
  return svgOf({
    title: "Roofline",
    ...frame(listed, points.length),
    x: logScale("FLOPs per byte that must move →", [first, last]),
    y: { ...logScale("↑ GFLOP/s", [lowest / 2, ceilings.gflops * 2]), grid: true },
    marks: [
      Plot.line(roof, { stroke: "currentColor", strokeWidth: 1.5 }),
      ...ceilingLabels(ceilings, first, last),
      Plot.ruleX(points, {
        ...{ x: "intensity", y1: "gflops", y2: "attainable", stroke: "colour" },
        ...{ strokeOpacity: 0.45, strokeDasharray: "2 3" },
      }),
      Plot.dot(points, {
        ...{ x: "intensity", y: "gflops", fill: "colour", r: 7.5, title: "label" },
        stroke: "var(--paper)",
      }),
      Plot.text(points, {
        ...{ x: "intensity", y: "gflops", text: "number", fill: "white" },
        ...{ fontSize: 9, fontWeight: 600, pointerEvents: "none" },
      }),
      ...points.flatMap(listEntry),
    ],
  });
}

function pointsOf(profiles: readonly Profile[], ceilings: Ceilings): Point[] {
  const operators = [...new Set(profiles.map(({ operator }) => operator))];
  return profiles.map((profile, i) => {
    const { operator, name, fractionOfCeiling } = profile;
    const { intensity, attainableGflops: attainable } = rooflineOf(profile, ceilings);
    return {
      ...{ intensity, attainable, gflops: fractionOfCeiling * attainable, number: String(i + 1) },
      label: operators.length > 1 ? `${operator} ${name}` : name,
      colour: colourOf(operators.indexOf(operator)),
    };
  });
}

/** Sizes that leave room for the list. */
function frame(listed: number, entries: number): Omit<Chart, "title"> {
  return {
    width: WIDTH,
    height: Math.max(HEIGHT, entries * LINE + 80),
    style: { fontSize: "12px", overflow: "visible" },
    ...{ marginRight: listed, marginLeft: 56, marginBottom: 42, marginTop: 28 },
  };
}

function ceilingLabels({ gflops, gbps }: Ceilings, first: number, last: number): Plot.Markish[] {
  const middle = Math.sqrt(first * gflops / gbps);
  const style = { textAnchor: "end", fill: "currentColor" } as const;
  return [
    Plot.text([[last, gflops]], {
      ...{ ...style, text: [`multiply-adds: ${figure(gflops)} GFLOP/s`], dy: -10 },
    }),
    Plot.text([[middle, middle * gbps]], {
      ...{ ...style, text: [`copy: ${figure(gbps)} GB/s`], dx: -10, dy: -6 },
    }),
  ];
}

/** A line of the list that stands right of the plot. */
function listEntry({ number, label, colour }: Point, i: number): Plot.Markish[] {
  const at = { frameAnchor: "top-right", dy: i * LINE + 4, clip: false } as const;
  return [
    Plot.dot([0], { ...at, dx: 22, r: 7.5, fill: colour }),
    Plot.text([number], {
      ...{ ...at, dx: 22, textAnchor: "middle", lineAnchor: "middle", fill: "white" },
      ...{ fontSize: 9, fontWeight: 600 },
    }),
    Plot.text([label], {
      ...{ ...at, dx: 36, textAnchor: "start", lineAnchor: "middle", fill: "currentColor" },
    }),
  ];
}
