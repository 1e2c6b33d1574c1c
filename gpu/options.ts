import { kindOf } from "./dtype.ts";
import { nearest } from "./nearest.ts";

/**
 * Refuses options that an operator does not have.
 *
 * @param action for the message, for example `"compute attention"`
 * @param options what the caller gave
 * @param known the names there are
 */
export function checkOptionNames(
  action: string,
  options: object,
  known: readonly string[],
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${action} as options must be an object: options is ${kindOf(options)}`,
    );
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new TypeError(
      `Cannot ${action} as options must be known: "${name}" is not, the nearest is "${
        nearest(name, known)
      }"`,
    );
  }
}
