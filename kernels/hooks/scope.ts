import { nearest } from "../../gpu/nearest.ts";
import { BUILTINS } from "./builtins.ts";
import { type HookError, hookError, type HookText } from "./error.ts";
import type { HookInput, HookSignature, HookType } from "./signature.ts";
import type { Let } from "./syntax.ts";
import { CLASSES, isScalarType } from "./types.ts";
import { indices } from "./wording.ts";
import { nameFault } from "./words.ts";

/** What a name stands for. */
type Meaning =
  | { readonly kind: "variable"; readonly type: HookType }
  | { readonly kind: "let"; readonly type: HookType }
  | { readonly kind: "input"; readonly input: HookInput }
  | { readonly kind: "function" };

const KINDS: Readonly<Record<Meaning["kind"], string>> = {
  variable: "a variable",
  let: "a let",
  input: "an input",
  function: "a function",
};

function shaderName(name: string): string {
  return `user_${name}`;
}

/** The names that a hook knows, and those that it uses. */
export class Scope {
  /** Variables that were looked up, in order. */
  readonly variables: Set<string> = new Set();
  /** Inputs that were looked up, in order. */
  readonly inputs: Set<string> = new Set();
  readonly #text: HookText;
  readonly #signature: HookSignature;
  readonly #lets: Map<string, HookType> = new Map();

  /** Knows what the signature has, and the functions. */
  constructor(text: HookText, signature: HookSignature) {
    this.#text = text;
    this.#signature = signature;
  }

  /** Adds a `let` for the statements behind it; returns its name in the shader. */
  declare({ name, at }: Let, type: HookType): string {
    const known = this.#meaning(name);
    const fault = nameFault(name) ??
      (known === null ? null : `must be new, there is ${KINDS[known.kind]} of that name`);
    if (fault !== null) throw this.#error(at, `"${name}" names a let and ${fault}`);
    this.#lets.set(name, type);
    return shaderName(name);
  }

  /** The type of a variable or `let`, and its name in the shader. */
  value(name: string, at: number): { readonly type: HookType; readonly name: string } {
    const meaning = this.#find(name, at);
    if (meaning.kind === "input") {
      const { rank } = meaning.input;
      throw this.#error(at, `${name} is an input of rank ${rank}, write ${name}(${indices(rank)})`);
    }
    if (meaning.kind === "function") {
      throw this.#error(at, `${name} is a function and must be called, write ${name}(...)`);
    }
    if (meaning.kind === "let") return { type: meaning.type, name: shaderName(name) };
    this.variables.add(name);
    return { type: meaning.type, name };
  }

  /** The input that a call reads; null where it calls a function. */
  called(name: string, at: number): HookInput | null {
    const meaning = this.#find(name, at);
    if (meaning.kind === "function") return null;
    if (meaning.kind !== "input") {
      throw this.#error(at, `${name} is ${KINDS[meaning.kind]} and cannot be called`);
    }
    this.inputs.add(name);
    return meaning.input;
  }

  #find(name: string, at: number): Meaning {
    const meaning = this.#meaning(name);
    if (meaning !== null) return meaning;
    const known = nearest(name, this.#names());
    throw this.#error(at, `${name} is not declared, the nearest is "${known}"`);
  }

  #meaning(name: string): Meaning | null {
    const { variables, inputs } = this.#signature;
    const local = this.#lets.get(name);
    if (local !== undefined) return { kind: "let", type: local };
    if (Object.hasOwn(variables, name)) return { kind: "variable", type: variables[name] };
    if (Object.hasOwn(inputs, name)) return { kind: "input", input: inputs[name] };
    return Object.hasOwn(BUILTINS, name) || isScalarType(name) ? { kind: "function" } : null;
  }

  #names(): string[] {
    const { variables, inputs } = this.#signature;
    const known = [variables, inputs, BUILTINS].flatMap(Object.keys);
    return [...known, ...CLASSES.scalar.types, ...this.#lets.keys()];
  }

  #error(at: number, rule: string): HookError {
    return hookError(this.#text, at, rule);
  }
}
