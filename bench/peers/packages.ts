// The libraries as npm/package.json pins them; the toolkit itself needs none of them.
import { createRequire } from "node:module";
import { note } from "../../cli/output.ts";
import pinned from "./npm/package.json" with { type: "json" };

const ROOT = new URL("npm/", import.meta.url);
const MODULES = new URL("node_modules/", ROOT);

/** Loads a CommonJS package. */
export const requirePackage: NodeJS.Require = createRequire(MODULES);

/** Imports a file of a package as a module. */
// deno-lint-ignore no-explicit-any -- its types come with the package
export function importFile(path: string): Promise<any> {
  return import(new URL(path, MODULES).href);
}

/** Installs the packages where one is missing or of another version than the pinned one. */
export async function installPackages(): Promise<void> {
  const versions = Object.entries(pinned.dependencies);
  const there = await Promise.all(
    versions.map(async ([name, version]) => await installedVersion(name) === version),
  );
  if (there.every(Boolean)) return;
  note(`installing ${versions.map(([name, version]) => `${name} ${version}`).join(", ")}`);
  const { success, stderr } = await new Deno.Command("npm", {
    args: ["ci", "--prefix", decodeURIComponent(ROOT.pathname)],
    stdout: "null",
  }).output();
  if (success) return;
  throw new Error(
    `Cannot install the libraries as npm ci must succeed: ${new TextDecoder().decode(stderr)}`,
  );
}

/** The version of a package that is installed, if any. */
export async function installedVersion(name: string): Promise<string | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(new URL(`${name}/package.json`, MODULES))).version;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
