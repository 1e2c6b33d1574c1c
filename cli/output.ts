import { reasonOf } from "./reason.ts";

/** Whether diagnostics may use colour: a terminal, and no NO_COLOR (https://no-color.org). */
export function mayColour(): boolean {
  return Deno.stdout.isTerminal() && !Deno.noColor;
}

/** Prints a line of text to stdout. */
export function print(text: string): void {
  console.log(text);
}

/** Prints a diagnostic to stderr. */
export function note(text: string): void {
  console.error(text);
}

/** Prints a JSON document; numbers that JSON lacks become null. */
export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}

/**
 * Writes a file.
 *
 * @throws TypeError that names the path where it cannot be written
 */
export async function writeFile(path: string, bytes: Uint8Array): Promise<void> {
  await naming(path, Deno.writeFile(path, bytes));
}

/**
 * Opens a file for writing, leaves what it has, and creates it where there is none.
 *
 * @throws TypeError that names the path where it cannot be written
 */
export async function checkWritable(path: string): Promise<void> {
  await naming(path, Deno.writeFile(path, new Uint8Array(), { append: true }));
}

async function naming(path: string, writing: Promise<void>): Promise<void> {
  try {
    await writing;
  } catch (error) {
    throw new TypeError(
      `Cannot write to ${path}: ${reasonOf(error, "folder")}`,
    );
  }
}

/** Green, red or plain. */
export function paint(text: string, colour: "green" | "red" | "grey"): string {
  const codes = { green: 32, red: 31, grey: 90 };
  return mayColour() ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
}

/** Whether a cell is a number, with its unit, or empty. */
export function isNumeric(cell: string): boolean {
  return /^[\d.,%x<e+-]*$/.test(cell);
}

/** Rows as aligned columns; columns whose cells are all numbers stand right. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]?.map((_, column) => rows.map((row) => row[column] ?? "")) ?? [];
  const padded = columns.map((cells) => {
    const width = Math.max(...cells.map((cell) => cell.length));
    const numeric = cells.slice(1).every(isNumeric);
    return cells.map((cell) => numeric ? cell.padStart(width) : cell.padEnd(width));
  });
  return rows.map((_, row) => padded.map((cells) => cells[row]).join("  ").trimEnd()).join("\n");
}

/** A progress bar on stderr, silent where that is no terminal. */
export class Progress {
  readonly #total: number;
  readonly #visible: boolean;
  #done = 0;

  /** Starts at nothing of `total`. */
  constructor(total: number) {
    this.#total = total;
    this.#visible = Deno.stderr.isTerminal();
  }

  /** One step further; `what` comes next. */
  step(what: string): void {
    this.#draw(what);
    this.#done++;
  }

  /** Says what is going on; no step further. */
  show(what: string): void {
    this.#draw(what);
  }

  /** Wipes the bar so that a line of output can be printed. */
  clear(): void {
    if (this.#visible) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[2K"));
  }

  #draw(what: string): void {
    if (!this.#visible) return;
    const width = 24;
    const filled = Math.round(width * this.#done / Math.max(1, this.#total));
    const bar = "█".repeat(filled) + "░".repeat(width - filled);
    const text = `\r\x1b[2K${bar} ${this.#done}/${this.#total} ${what}`.slice(0, 110);
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  }
}

/** A number with three significant digits. */
export function figure(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return digits > 6 ? value.toExponential(1) : value.toFixed(digits);
}
