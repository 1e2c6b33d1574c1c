import { escaped } from "../markup.ts";
import { arrange } from "./arrangement.ts";
import { FAINT_INK, hex, INK, PAPER, type Tone } from "./palette.ts";
import { type Paint, type Panel, type Picture, ticks } from "./picture.ts";
import { classOf, decimal, paintPaths, type Place, runsOf } from "./svg_paths.ts";

/** Space around the picture. */
const MARGIN = 20;
/** Heights: of the title, of axis titles with their numbers, of a line of the legend. */
const TITLE = 28;
const AXES = 36;
const LEGEND = 22;
/** A line below a panel. */
const CAPTION = 20;
/** Between panels; captions stand there too. */
const BETWEEN = { x: 20, y: CAPTION + 18 };
/** Side of a sample in the legend. */
const SWATCH = 14;
/** About the width of a character of each text size. */
const TITLE_CHARACTER = 8.2;
const LEGEND_CHARACTER = 6.9;

/**
 * The picture as SVG, on a card of its own that turns dark where the reader prefers it.
 *
 * Each tone of a panel is one path, so that the file stays small.
 */
export function renderSvg(picture: Picture): string {
  const { title, panels, legend } = picture;
  const arranged = arrange(panels, { pitch: 16, width: 592, between: BETWEEN });
  const left = MARGIN + (panels[0].axes ? AXES + 8 : 0);
  const top = MARGIN + TITLE + (panels[0].axes ? AXES : 0);
  const legendTop = top + arranged.height + (panels[0].caption ? CAPTION : 0) + MARGIN;
  const swatches = Math.max(...legend.map(({ paints }) => paints.length)) * (SWATCH + 3);
  const width = Math.ceil(Math.max(
    left + arranged.width,
    MARGIN + title.length * TITLE_CHARACTER,
    ...legend.map(({ text }) => MARGIN + swatches + 8 + text.length * LEGEND_CHARACTER),
  )) + MARGIN;
  const height = legendTop + legend.length * LEGEND + MARGIN - (LEGEND - SWATCH);
  const tones = [
    ...new Map(picture.paints.flatMap(({ tones }) => tones.map((t) => [classOf(t), t]))),
  ];
  const body = [
    `<title>${escaped(title)}</title>`,
    ...style(tones),
    `<rect class="paper" width="${width}" height="${height}" rx="8" />`,
    `<text class="title" x="${MARGIN}" y="${MARGIN + 14}">${escaped(title)}</text>`,
    ...panels.flatMap((panel, i) => {
      const { x, y } = arranged.places[i];
      return panelElements(picture.paints, panel, { ...arranged, x: left + x, y: top + y });
    }),
    ...legend.flatMap((entry, i) => [
      ...entry.paints.flatMap((paint, j) =>
        paintPaths(paint, [[0, 0, 1]], {
          pitch: SWATCH,
          gap: 0,
          x: MARGIN + j * (SWATCH + 3),
          y: legendTop + i * LEGEND,
        })
      ),
      `<text x="${MARGIN + swatches + 8}" y="${legendTop + i * LEGEND + 11}">${entry.text}</text>`,
    ]),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    ...body.map((line) => `  ${line}`),
    "</svg>",
    "",
  ].join("\n");
}

function style(tones: readonly (readonly [string, Tone])[]): string[] {
  const rules = (ground: keyof Tone) => [
    `.paper { fill: ${hex(PAPER[ground])}; }`,
    `text { fill: ${hex(INK[ground])}; }`,
    `.tick { fill: ${hex(FAINT_INK[ground])}; }`,
    ...tones.map(([name, tone]) =>
      `.${name} { fill: ${hex(tone[ground])}; stroke: ${hex(tone[ground])}; }`
    ),
  ];
  return [
    "<style>",
    "  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; }",
    "  .title { font-size: 15px; font-weight: 600; }",
    "  .tick { font-size: 10px; }",
    "  path { stroke-linejoin: round; stroke-width: 0; }",
    "  .round { stroke-width: 2; }",
    ...rules("light").map((rule) => `  ${rule}`),
    "  @media (prefers-color-scheme: dark) {",
    ...rules("dark").map((rule) => `    ${rule}`),
    "  }",
    "</style>",
  ];
}

function panelElements(paints: readonly Paint[], panel: Panel, place: Place): string[] {
  const runs = runsOf(panel, paints.length, place.gap > 0 ? 1 : panel.columns);
  return [
    ...captionText(panel, place),
    ...axisTexts(panel, place),
    ...paints.flatMap((paint, i) => paintPaths(paint, runs[i], place)),
  ];
}

function captionText({ caption, rows }: Panel, { pitch, x, y }: Place): string[] {
  return caption ? [`<text x="${x}" y="${y + rows * pitch + CAPTION - 5}">${caption}</text>`] : [];
}

function axisTexts({ axes, rows, columns }: Panel, { pitch, gap, x, y }: Place): string[] {
  if (!axes) return [];
  const middle = (count: number) => Math.round((count * pitch - gap) / 2);
  const centre = (i: number) => decimal((i + 0.5) * pitch - gap / 2);
  const titleX = x - AXES + 4;
  const titleY = y + middle(rows);
  return [
    `<text text-anchor="middle" x="${x + middle(columns)}" y="${y - 24}">${axes.columns}</text>`,
    `<text text-anchor="middle" transform="translate(${titleX} ${titleY}) rotate(-90)">${axes.rows}</text>`,
    ...ticks(columns).map((i) =>
      `<text class="tick" text-anchor="middle" x="${x + centre(i)}" y="${y - 7}">${i}</text>`
    ),
    ...ticks(rows).map((i) =>
      `<text class="tick" text-anchor="end" x="${x - 7}" y="${y + centre(i) + 3.5}">${i}</text>`
    ),
  ];
}
