import { hookError, type HookText } from "./error.ts";

/** A word, number or mark of a hook's text; the last one is its end. */
export interface Token {
  readonly kind: "word" | "number" | "mark" | "end";
  readonly text: string;
  /** Offset in the source. */
  readonly at: number;
}

const BLANK = /(?:[ \t\n\v\f\r]|\/\/[^\n\r]*)+/y;
const WORD = /[A-Za-z_]\w*/y;
const NUMBER = /0[xX][\w.]*|\.?\d(?:[eE][+-]|[\w.])*/y;
const MARK =
  /<<=|>>=|&&|\|\||==|!=|<=|>=|<<|>>|\+\+|--|->|[-+*\/%&|^]=|[-+*\/%<>!~&|^=(),;:.[\]{}@?]/y;

/** Cuts a hook's text into tokens, without blanks and comments. */
export function tokenise(text: HookText): Token[] {
  const { source } = text;
  const tokens: Token[] = [];
  let at = 0;
  const matched = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const add = (kind: Token["kind"], found: string | undefined): boolean => {
    if (found === undefined) return false;
    tokens.push({ kind, text: found, at });
    at += found.length;
    return true;
  };
  while (at < source.length) {
    const blank = matched(BLANK);
    if (blank !== undefined) at += blank.length;
    else if (source.startsWith("/*", at)) at = endOfComment(text, at);
    else if (add("word", matched(WORD))) continue;
    else if (add("number", matched(NUMBER))) continue;
    else if (!add("mark", matched(MARK))) {
      const character = String.fromCodePoint(source.codePointAt(at) ?? 0);
      throw hookError(text, at, `${JSON.stringify(character)} has no meaning in a hook`);
    }
  }
  const last = tokens.at(-1);
  tokens.push({ kind: "end", text: "", at: last === undefined ? 0 : last.at + last.text.length });
  return tokens;
}

/** Where a block comment ends; they nest. */
function endOfComment(text: HookText, start: number): number {
  const { source } = text;
  let depth = 0;
  let at = start;
  while (at < source.length) {
    const mark = source.slice(at, at + 2);
    if (mark === "/*" || mark === "*/") {
      depth += mark === "/*" ? 1 : -1;
      at += 2;
      if (depth === 0) return at;
    } else at++;
  }
  throw hookError(text, start, "a comment must be closed by */");
}
