import { UsageError } from "./command.ts";
import { reasonOf } from "./reason.ts";

/** What a text of the user's says; `what` begins the message where it is no JSON. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`Cannot read ${what} as it must be JSON: ${reasonOf(error)}`);
  }
}
