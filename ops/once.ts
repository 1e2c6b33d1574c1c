import { Bounded } from "../gpu/bounded.ts";
import { nothingFound, spell } from "../gpu/spelling.ts";

/** Configurations that are remembered. */
const CONFIGS = 256;

/** Calls a pure function once per configuration: generating a kernel's text costs more than a look-up. */
export function once<C extends object, R>(make: (config: C) => R): (config: C) => R {
  const made = new Bounded<R>(CONFIGS);
  return (config) => {
    const found = nothingFound();
    const key = spell(config, found);
    if (!found.plain) throw new TypeError("Cannot remember a configuration as it must be plain");
    const known = made.get(key);
    if (known !== undefined) return known;
    const value = make(config);
    made.set(key, value);
    return value;
  };
}
