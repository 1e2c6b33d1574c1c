import * as Plot from "@observablehq/plot";
import { figure } from "../output.ts";
import type { Profile } from "../profile/document.ts";
import type { Growth } from "../profile/growth.ts";
import { colourOf, logScale, svgOf } from "./plot.ts";

/** The rivals whose times a profile may have, by what they are called. */
const RIVALS: readonly (readonly [string, (p: Profile) => number | undefined])[] = [
  ["naive", (p) => p.naiveMs],
  ["unfused", (p) => p.unfusedMs],
  ["dense attention", (p) => p.denseMs],
  ["attention", (p) => p.attentionMs],
  ["a loop", (p) => p.loopMs],
  ["without hooks", (p) => p.plainMs],
];

/** Times that belong together. */
interface Series {
  readonly name: string;
  readonly points: readonly (readonly [value: number, ms: number])[];
  readonly colour: string;
}

/** Time against length, with the fitted law and the rivals. */
export function timesChart(
  profiles: readonly Profile[],
  { variable, values, law }: Growth,
): string {
  const series = seriesOf(profiles, values);
  const [own] = series;
  const lows = profiles.map(({ minMs }) => minMs);
  const all = [...series.flatMap(({ points }) => points.map(([, ms]) => ms)), ...lows];
  const ends = [values[0], values[values.length - 1]] as const;
  const fitted = ends.map((x) => [x, law.factor * x ** law.exponent]);
  return svgOf({
    title: `Time against ${variable}`,
    ...{ width: 720, height: 420, marginRight: 150, marginLeft: 56, marginBottom: 42 },
    ...{ marginTop: 28, style: { fontSize: "12px", overflow: "visible" } },
    x: { ...logScale(`${variable} →`, ends), ticks: [...values] },
    y: {
      ...logScale("↑ milliseconds", [Math.min(...all) / 1.5, Math.max(...all) * 1.5]),
      grid: true,
    },
    marks: [
      Plot.line(fitted, { stroke: own.colour, strokeDasharray: "4 4", strokeOpacity: 0.7 }),
      Plot.ruleX(profiles, {
        ...{ x: (_, i) => values[i], y1: "minMs", y2: "p90Ms", stroke: own.colour },
        strokeWidth: 2,
      }),
      ...series.flatMap((line) => marksOf(line, line === own)),
      Plot.text(fitted.slice(-1), {
        ...{ text: [`∝ ${variable}^${figure(law.exponent)}`], dx: 12, dy: 14 },
        ...{ textAnchor: "start", fill: own.colour },
      }),
    ],
  });
}

function seriesOf(profiles: readonly Profile[], values: readonly number[]): Series[] {
  const times = (of: (p: Profile) => number | undefined): [number, number][] =>
    profiles.flatMap((p, i): [number, number][] => {
      const ms = of(p);
      return ms === undefined ? [] : [[values[i], ms]];
    });
  const own = { name: profiles[0].operator, points: times((p) => p.medianMs), colour: colourOf(0) };
  const rivals = RIVALS.map(([name, of], i) => ({
    ...{ name, points: times(of), colour: colourOf(i + 1) },
  }));
  return [own, ...rivals.filter(({ points }) => points.length > 0)];
}

/** Dots, joined where no law joins them, and the name behind the last one. */
function marksOf({ name, points, colour }: Series, fitted: boolean): Plot.Markish[] {
  return [
    ...(fitted ? [] : [Plot.line(points, { stroke: colour })]),
    Plot.dot(points, { fill: colour, r: 4, title: ([x, ms]) => `${x}: ${figure(ms)} ms` }),
    Plot.text(points.slice(-1), {
      ...{ text: [name], dx: 12, textAnchor: "start", fill: colour, fontWeight: 600 },
    }),
  ];
}
