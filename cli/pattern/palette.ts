/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** A colour on a light and on a dark ground. */
export interface Tone {
  readonly light: Rgb;
  readonly dark: Rgb;
}

/** The ground of a picture. */
export const PAPER: Tone = { light: [255, 255, 255], dark: [13, 17, 23] };

/** Text. */
export const INK: Tone = { light: [31, 35, 40], dark: [230, 237, 243] };

/** Text that stands back: numbers on an axis. */
export const FAINT_INK: Tone = mixTones(INK, PAPER, 0.4);

/** A colour to tell groups and queries apart, and its characters where there is no colour. */
interface Hue {
  readonly colour: Rgb;
  readonly seen: string;
  readonly soft: string;
}

/** Colours that differ for the colour-blind too: Okabe and Ito's, yellow darkened for white ground. */
const HUES: readonly Hue[] = [
  { colour: [0, 114, 178], seen: "#", soft: "+" },
  { colour: [213, 94, 0], seen: "o", soft: "c" },
  { colour: [0, 158, 115], seen: "=", soft: "-" },
  { colour: [204, 121, 167], seen: "%", soft: "/" },
  { colour: [230, 159, 0], seen: "$", soft: "s" },
  { colour: [86, 180, 233], seen: "8", soft: "3" },
  { colour: [178, 165, 30], seen: "M", soft: "w" },
];

/** How many hues there are; beyond them they repeat. */
export const HUE_COUNT: number = HUES.length;

/** `seen` for keys, `soft` for keys beside those, `self` for a query. */
type Shade = "seen" | "soft" | "self";

/** How far a colour turns to another one, on each ground. */
interface Tinge extends Readonly<Record<keyof Tone, number>> {
  readonly towards: Tone;
}

/** What a hue turns to. */
const SHADES: Readonly<Record<Shade, Tinge>> = {
  seen: { towards: PAPER, light: 0.18, dark: 0 },
  soft: { towards: PAPER, light: 0.55, dark: 0.45 },
  self: { towards: INK, light: 0.62, dark: 0.7 },
};

/** A shade of a hue. */
export function toneOf(hue: number, shade: Shade): Tone {
  const { colour } = HUES[hue % HUE_COUNT];
  const { towards, light, dark } = SHADES[shade];
  return {
    light: mix(colour, towards.light, light),
    dark: mix(colour, towards.dark, dark),
  };
}

/** The character for keys of a hue. */
export function markOf(hue: number, shade: "seen" | "soft"): string {
  return HUES[hue % HUE_COUNT][shade];
}

/** A grey for what is not seen; greys of different `depth`, 0 to 1, tell groups apart. */
export function groundTone(depth: number): Tone {
  return mixTones(PAPER, INK, 0.075 + 0.1 * depth);
}

/** The colour of seen keys of a hue at `t` from 0, all of it, to 1, what is not seen. */
export function fadedTone(hue: number, t: number): Tone {
  return mixTones(toneOf(hue, "seen"), groundTone(0), t);
}

/** A colour as `#rrggbb`. */
export function hex(colour: Rgb): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** The colour at `t` from 0, all `a`, to 1, all `b`. */
export function mix(a: Rgb, b: Rgb, t: number): Rgb {
  const part = (i: 0 | 1 | 2) => Math.round(a[i] + (b[i] - a[i]) * t);
  return [part(0), part(1), part(2)];
}

function mixTones(a: Tone, b: Tone, t: number): Tone {
  return { light: mix(a.light, b.light, t), dark: mix(a.dark, b.dark, t) };
}
