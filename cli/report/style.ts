import { FAINT_INK, hex, INK, PAPER, type Tone, toneOf } from "../pattern/palette.ts";

/** The colours of a page on a ground. */
function colours(ground: keyof Tone): string {
  return [
    `--ink: ${hex(INK[ground])};`,
    `--faint: ${hex(FAINT_INK[ground])};`,
    `--page: ${hex(PAPER[ground])};`,
    `--accent: ${hex(toneOf(0, "soft")[ground])};`,
  ].join(" ");
}

/** The style sheet of a page: the fonts of the system, light or dark as the reader prefers. */
export const PAGE_STYLE: string = `
:root { color-scheme: light dark; ${colours("light")} }
@media (prefers-color-scheme: dark) { :root { ${colours("dark")} } }
body {
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
  color: var(--ink); background: var(--page);
  max-width: 72rem; margin: 2.5rem auto; padding: 0 1.5rem;
}
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt, figcaption, th { color: var(--faint); }
dd { margin: 0; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption { max-width: 46rem; margin-top: .5rem; font-size: .9rem; }
.patterns { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
.patterns img { max-width: 100%; height: auto; display: block; }
.patterns figure { width: 21rem; max-width: 100%; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th { font-weight: 500; text-align: left; vertical-align: bottom; }
th, td { padding: .3rem .7rem; white-space: nowrap; }
td { border-top: 1px solid color-mix(in srgb, var(--ink) 14%, transparent); }
th:first-child, td:first-child { padding-left: 0; }
.number { text-align: right; }
.bar { display: inline-block; height: .6rem; background: var(--accent); }
`;
