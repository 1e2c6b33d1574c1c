/** A hook's text and what the hook is. */
export interface HookText {
  /** For messages: "score", "mask", "weight". */
  readonly name: string;
  /** What the user wrote. */
  readonly source: string;
}

/** Characters of a line that a message quotes, at most, and how many of them stand before the fault. */
const QUOTED = 100;
const BEFORE = 60;

/**
 * Thrown when a hook is not a well-formed, well-typed expression; it points into the user's text.
 *
 * @example Point at the fault
 * ```ts
 * import { HookError } from "@tessera/kernels";
 * const error = new HookError('Cannot compile the score as "slopes" is unknown', "s + slopes(h)", 4);
 * console.log(error.line, error.column);
 * console.log(error.message);
 * ```
 */
export class HookError extends TypeError {
  /** Name of the class. */
  override readonly name = "HookError";
  /** The whole text of the hook. */
  readonly source: string;
  /** Line of the fault, from 1. */
  readonly line: number;
  /** Character of that line, from 1; a tab is one character. */
  readonly column: number;

  /**
   * Constructs the error; its message is `fault`, the place, and the line with a caret below it.
   *
   * @param fault what is wrong
   * @param source the whole text of the hook
   * @param offset where in `source` the fault is, in UTF-16 units from 0
   */
  constructor(fault: string, source: string, offset: number) {
    const lines = source.slice(0, offset).split(/\r\n|[\n\r]/);
    const before = [...lines[lines.length - 1]];
    const after = [...source.slice(offset).split(/[\n\r]/, 1)[0]];
    const start = Math.max(before.length - BEFORE, 0);
    const quoted = [...before.slice(start), ...after].slice(0, QUOTED).join("");
    const padding = before.slice(start).map((character) => character === "\t" ? "\t" : " ").join(
      "",
    );
    super(
      `${fault}: line ${lines.length}, column ${before.length + 1}\n  ${quoted}\n  ${padding}^`,
    );
    this.source = source;
    this.line = lines.length;
    this.column = before.length + 1;
  }
}

/** The error of a hook that breaks a rule at an offset of its source. */
export function hookError(text: HookText, offset: number, rule: string): HookError {
  return new HookError(`Cannot compile the ${text.name} as ${rule}`, text.source, offset);
}
