import { checkTuning, type TunedChoice, type Tuning } from "../../gpu/tuning.ts";
import { writeFile } from "../output.ts";

/**
 * Reads a tuning; a file that is not there or empty is one without choices.
 *
 * @throws TypeError that names the path where the file is no tuning
 */
export async function readTuning(path: string): Promise<Tuning> {
  const text = await textOf(path);
  if (text.trim() === "") return { version: 1, adapters: {} };
  return checkTuning(`save to ${path}`, parsed(path, text));
}

async function textOf(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw new TypeError(
      `Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function parsed(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(
      `Cannot save to ${path} as it must hold a tuning or nothing: ${
        error instanceof Error ? error.message : String(error)
      }`,
    );
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
