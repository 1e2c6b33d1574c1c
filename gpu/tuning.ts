import type { AdapterSummary } from "./adapter.ts";
import { kindOf } from "./dtype.ts";
import type { GpuFeatures } from "./features.ts";
import { checkOptionNames } from "./options.ts";

/** What measurement chose for a class of problems; what is missing stays with the default. */
export interface TunedChoice {
  /** Name of a schedule, without what follows from lengths. */
  readonly schedule?: string;
  /** How `mode: "auto"` walks tokens with that schedule. */
  readonly mode?: "loop" | "chunk";
  /** Tokens of a chunk where the call names none. */
  readonly chunkSize?: number;
}

/**
 * What `tessera tune --save FILE` writes and `requestGpu({ tuning })` takes: choices by adapter and
 * by class of problems (operator, dtype, dims, kinds; never lengths). Plain JSON.
 */
export interface Tuning {
  /** Of the format. */
  readonly version: 1;
  /** By the adapter's key, then by the class of problems. */
  readonly adapters: Readonly<Record<string, Readonly<Record<string, TunedChoice>>>>;
}

/** Choices for one adapter, by class of problems. */
export type TunedClasses = ReadonlyMap<string, TunedChoice>;

/** What tuning knows an adapter by: its driver, its name, and the lanes of its subgroups. */
export function adapterKey(
  { driver, description, vendor, architecture }: AdapterSummary,
  { subgroups }: Pick<GpuFeatures, "subgroups">,
): string {
  const name = description || [vendor, architecture].filter((part) => part !== "").join(" ");
  const lanes = subgroups === null ? "no subgroups" : `${subgroups.size} lanes`;
  return [driver, name, lanes].filter((part) => part !== "").join(" / ");
}

/** The choices of a tuning for one adapter: none where it does not know the adapter. */
export function tunedClasses(tuning: Tuning | undefined, key: string): TunedClasses {
  const adapters = new Map(Object.entries(tuning?.adapters ?? {}));
  return new Map(
    Object.entries(adapters.get(key) ?? {}).map(([name, choice]) => [name, { ...choice }]),
  );
}

const MODES: readonly unknown[] = [undefined, "loop", "chunk"];

/**
 * Refuses what is no tuning.
 *
 * @param action for the message, for example `"request a GPU device"`
 * @param value what the caller gave, maybe parsed from a file
 */
export function checkTuning(action: string, value: unknown): Tuning {
  const tuning = checkObject(action, "tuning", value);
  checkOptionNames(`${action} with a tuning`, tuning, ["version", "adapters"]);
  if (tuning.version !== 1) {
    throw new TypeError(
      `Cannot ${action} as tuning.version must be 1: it is ${kindOf(tuning.version)}`,
    );
  }
  const adapters = checkObject(action, "tuning.adapters", tuning.adapters);
  for (const [key, classes] of Object.entries(adapters)) {
    const place = `tuning.adapters["${key}"]`;
    for (const [name, choice] of Object.entries(checkObject(action, place, classes))) {
      checkChoice(action, `${place}["${name}"]`, choice);
    }
  }
  return tuning as unknown as Tuning;
}

function checkChoice(action: string, place: string, value: unknown): void {
  const choice = checkObject(action, place, value);
  checkOptionNames(`${action} with ${place}`, choice, ["schedule", "mode", "chunkSize"]);
  const { schedule, mode, chunkSize } = choice;
  const refuse = (name: string, rule: string, given: unknown): never => {
    throw new TypeError(
      `Cannot ${action} as ${place}.${name} must be ${rule}: it is ${kindOf(given)}`,
    );
  };
  if (schedule !== undefined && (typeof schedule !== "string" || schedule === "")) {
    refuse("schedule", "the name of a schedule", schedule);
  }
  if (!MODES.includes(mode)) refuse("mode", '"loop" or "chunk"', mode);
  if (chunkSize !== undefined && !(Number.isSafeInteger(chunkSize) && Number(chunkSize) > 0)) {
    refuse("chunkSize", "an integer > 0", chunkSize);
  }
}

function checkObject(action: string, place: string, value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new TypeError(`Cannot ${action} as ${place} must be an object: it is ${kindOf(value)}`);
}
