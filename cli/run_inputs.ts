import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { decodeNpy, type NpyArray } from "./npy.ts";
import { nested } from "./records.ts";
import { reasonOf } from "./reason.ts";
import type { Runnable } from "./runnable.ts";

/** The files of a job and the options beside them. */
export interface JobInputs {
  readonly operator: string;
  /** The directory. */
  readonly inputs: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Reads what an operator takes; every tensor is added to `owned` as it is made. */
export async function readInputs(
  gpu: Gpu,
  { parameters, tensorOptions, numbersToo = [], openRecords = [] }: Runnable,
  { operator, inputs, options }: JobInputs,
  owned: Tensor[],
): Promise<{ readonly positional: Tensor[]; readonly options: Record<string, unknown> }> {
  const read = (name: string): Promise<Tensor> => readTensor(gpu, inputs, name, owned);
  const positional: Tensor[] = [];
  for (const name of parameters) positional.push(await read(name));
  const given: Record<string, Tensor> = {};
  for (const name of tensorOptions) {
    const found = await exists(npyPath(inputs, name));
    if (numbersToo.includes(name) && typeof options[name] === "number" && !found) continue;
    if (name in options) {
      throw new TypeError(
        `Cannot run ${operator} as ${name} must be a file: put ${name}.npy into ${inputs}`,
      );
    }
    if (!found) continue;
    const [record] = name.split(".");
    if (record !== name && Object.hasOwn(given, record)) {
      throw new TypeError(
        `Cannot run ${operator} as ${record} must be one file or a record: ${inputs} has ${record}.npy and ${name}.npy`,
      );
    }
    given[name] = await read(name);
  }
  const records = Object.fromEntries(openRecords.map((name) => [name, recordOf(name, options)]));
  for (const name of openRecords) {
    const parts = await readParts(gpu, inputs, name, owned);
    const both = Object.keys(parts).find((part) => Object.hasOwn(records[name], part));
    if (both !== undefined) {
      throw new TypeError(
        `Cannot run ${operator} as ${name}.${both} must be a number or a file: it is both`,
      );
    }
    records[name] = { ...records[name], ...parts };
  }
  const filled = Object.entries(records).filter(([, record]) => Object.keys(record).length > 0);
  return { positional, options: { ...options, ...nested(given), ...Object.fromEntries(filled) } };
}

/** The part of a record that the JSON has. */
function recordOf(name: string, options: JobInputs["options"]): Readonly<Record<string, unknown>> {
  const { [name]: record = {} } = options;
  if (typeof record === "object" && record !== null && !Array.isArray(record)) {
    return record as Readonly<Record<string, unknown>>;
  }
  throw new TypeError(
    `Cannot read the option ${name} as it must be a JSON object: it is ${JSON.stringify(record)}`,
  );
}

/**
 * Reads the files `<record>.<part>.npy` of a directory: the parts of a record, by name. Every tensor is
 * added to `owned` as it is made.
 */
export async function readParts(
  gpu: Gpu,
  directory: string,
  record: string,
  owned: Tensor[] = [],
): Promise<Record<string, Tensor>> {
  const parts: Record<string, Tensor> = {};
  for (const part of await partsOf(directory, record)) {
    parts[part] = await readTensor(gpu, directory, `${record}.${part}`, owned);
  }
  return parts;
}

/** The names behind `<record>.` of the files of a directory, in order. */
async function partsOf(directory: string, record: string): Promise<string[]> {
  const names: string[] = [];
  const [start, end] = [`${record}.`, ".npy"];
  try {
    for await (const { name } of Deno.readDir(directory)) {
      if (name.startsWith(start) && name.endsWith(end)) {
        names.push(name.slice(start.length, -end.length));
      }
    }
  } catch (error) {
    throw new TypeError(`Cannot read ${directory}: ${reasonOf(error, "folder")}`);
  }
  return names.sort();
}

async function readTensor(
  gpu: Gpu,
  directory: string,
  name: string,
  owned: Tensor[],
): Promise<Tensor> {
  const { data, shape } = await readNpy(npyPath(directory, name));
  const tensor = gpu.tensor(data, shape);
  owned.push(tensor);
  return tensor;
}

/**
 * Reads the array of a .npy file.
 *
 * @throws TypeError that names the path where it cannot be read
 */
export async function readNpy(path: string): Promise<NpyArray> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    throw new TypeError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
  return decodeNpy(bytes, path);
}

/** Where a tensor lies. */
export function npyPath(directory: string, name: string): string {
  return `${directory.replace(/\/+$/, "")}/${name}.npy`;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
