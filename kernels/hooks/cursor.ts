import { type HookError, hookError, type HookText } from "./error.ts";
import { type Token, tokenise } from "./token.ts";

/** Reads the tokens of a hook one after another. */
export class Cursor {
  readonly #text: HookText;
  readonly #tokens: readonly Token[];
  #index = 0;

  /** Stands before the first token. */
  constructor(text: HookText) {
    this.#text = text;
    this.#tokens = tokenise(text);
  }

  /** The token that comes next. */
  get next(): Token {
    return this.#tokens[this.#index];
  }

  /** Whether no token is left. */
  atEnd(): boolean {
    return this.next.kind === "end";
  }

  /** Offset behind the token that was taken last. */
  get end(): number {
    const { at, text } = this.#tokens[Math.max(this.#index - 1, 0)];
    return at + text.length;
  }

  /** Takes the next token, whatever it is; the end is never passed. */
  take(): Token {
    const token = this.next;
    if (token.kind !== "end") this.#index++;
    return token;
  }

  /** Takes the next token if it is this word or mark. */
  accept(text: string): Token | null {
    return this.next.kind !== "number" && this.next.text === text ? this.take() : null;
  }

  /** The error that the next token breaks a rule. */
  fault(rule: string, token: Token = this.next): HookError {
    return hookError(this.#text, token.at, rule);
  }

  /** The error that something else must come next. */
  missing(wanted: string): HookError {
    const { kind, text } = this.next;
    return this.fault(
      `${wanted} must come ${kind === "end" ? "before the end" : `before "${text}"`}`,
    );
  }
}
