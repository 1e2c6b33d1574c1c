import { Checker } from "./check.ts";
import { emit } from "./emit.ts";
import { hookError } from "./error.ts";
import { parse } from "./parse.ts";
import type { HookSignature } from "./signature.ts";

export type { HookInput, HookSignature, HookType } from "./signature.ts";
export { HookError } from "./error.ts";
export { checkInputName } from "./words.ts";

/** A hook that compiles. */
export interface Hook {
  /** Statements of a WGSL function body, ending in return. */
  readonly code: string;
  /** Variables that it names. */
  readonly variables: readonly string[];
  /** Inputs that it names. */
  readonly inputs: readonly string[];
}

const LONGEST = 10_000;

/**
 * Compiles a hook: WGSL's expressions on scalars, typed by WGSL's rules, constants folded.
 *
 * Inputs become calls of `hook_input_<name>` with i32 indices, `let` names begin with `user_`, and
 * functions that WGSL lacks are those of {@linkcode HOOK_FUNCTIONS}.
 *
 * @param source `let` statements and one expression
 * @param signature what the hook may name and must be
 * @throws HookError that points into `source`
 */
export function parseHook(source: string, signature: HookSignature): Hook {
  const { name } = signature;
  if (typeof source !== "string") {
    throw new TypeError(`Cannot compile the ${name} as it must be text: it is a ${typeof source}`);
  }
  const text = { name, source };
  if (source.trim() === "") throw hookError(text, 0, "it must not be empty");
  if (source.length > LONGEST) {
    throw hookError(
      text,
      LONGEST,
      `it must have at most ${LONGEST} characters, it has ${source.length}`,
    );
  }
  const checker = new Checker(text, signature);
  const code = emit(checker.check(parse(text)));
  const { variables, inputs } = checker.scope;
  return { code, variables: [...variables], inputs: [...inputs] };
}
