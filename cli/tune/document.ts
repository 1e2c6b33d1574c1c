import { checkTuning, type TunedChoice, type Tuning } from "../../gpu/tuning.ts";
import { writeFile } from "../output.ts";
import { reasonOf } from "../reason.ts";

/**
 * Reads a tuning.
 *
 * @throws TypeError that names the path where the file is no tuning, or is not there
 */
export async function readTuning(path: string): Promise<Tuning> {
  return tuningOf(`use ${path}`, "a tuning", await textOf(path));
}

/**
 * Reads a tuning that is to be saved again; a file that is not there or empty is one without choices.
 *
 * @throws TypeError that names the path where the file is no tuning
 */
export async function readSaved(path: string): Promise<Tuning> {
  const text = await textOf(path, "");
  if (text.trim() === "") return { version: 1, adapters: {} };
  return tuningOf(`save to ${path}`, "a tuning or nothing", text);
}

/** The text of a file, or of one that is not there. */
async function textOf(path: string, missing?: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && missing !== undefined) return missing;
    throw new TypeError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
}

function tuningOf(action: string, what: string, text: string): Tuning {
  try {
    return checkTuning(action, JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot ${action} as it must hold ${what}: ${error.message}`);
  }
}

/** A tuning with one more choice, in the place of an older one. */
export function withChoice(
  { version, adapters }: Tuning,
  [key, problemClass]: readonly [adapter: string, problemClass: string],
  choice: TunedChoice,
): Tuning {
  return {
    version,
    adapters: { ...adapters, [key]: { ...adapters[key], [problemClass]: choice } },
  };
}

/** Writes a tuning, classes in alphabetical order. */
export async function writeTuning(path: string, { version, adapters }: Tuning): Promise<void> {
  const sorted = Object.entries(adapters).map(([key, classes]) => [
    key,
    Object.fromEntries(Object.entries(classes).toSorted(([a], [b]) => a < b ? -1 : 1)),
  ]);
  const text = JSON.stringify({ version, adapters: Object.fromEntries(sorted) }, null, 2);
  await writeFile(path, new TextEncoder().encode(`${text}\n`));
}
