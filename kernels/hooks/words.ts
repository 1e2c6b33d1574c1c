import { BUILTINS } from "./builtins.ts";

/** What WGSL keeps for itself: keywords, reserved words, and types that a user might name. */
const TAKEN: ReadonlySet<string> = new Set(
  `alias break case const const_assert continue continuing default diagnostic discard else enable
false fn for if let loop override requires return struct switch true var while

NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become
binding_array cast catch class co_await co_return co_yield coherent column_major common compile
compile_fragment concept const_cast consteval constexpr constinit crate debugger decltype delete
demote demote_to_helper do dynamic_cast enum explicit export extends extern external fallthrough
filter final finally friend from fxgroup get goto groupshared highp impl implements import inline
instanceof interface layout lowp macro macro_rules match mediump meta mod module move mut mutable
namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null
nullptr of operator package packoffset partition pass patch pixelfragment precise precision premerge
priv protected pub public readonly ref regardless register reinterpret_cast require resource restrict
self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target
template this thread_local throw trait try type typedef typeid typename typeof union unless unorm
unsafe unsized use using varying virtual volatile wgsl where with writeonly yield

array atomic bitcast bool f16 f32 i32 ptr sampler u32`.split(/\s+/),
);

const COMPOUND = /^(?:vec[234][fhiu]?|mat[234]x[234][fh]?|(?:texture|sampler)_\w+)$/;

/** Whether WGSL has a meaning for a word, or keeps it for later. */
export function isReserved(word: string): boolean {
  return TAKEN.has(word) || COMPOUND.test(word);
}

/** Why a word cannot name something of the user's; null if it can. */
export function nameFault(word: string): string | null {
  if (!/^[A-Za-z_]\w*$/.test(word)) return "must be letters, digits and underscores";
  if (word === "_" || word.startsWith("__")) return "must not be _ or start with two underscores";
  if (isReserved(word)) return "must not be a reserved word of WGSL";
  if (Object.hasOwn(BUILTINS, word)) return "must not be a built-in function";
  return null;
}

/**
 * Refuses names of inputs that hooks could not spell or that would hide something else.
 *
 * @param name what the user calls the tensor
 * @param variables the names that hooks know without it
 * @throws TypeError naming the rule
 */
export function checkInputName(name: string, variables: readonly string[]): void {
  const prefix = ["hook_", "user_"].find((start) => name.startsWith(start));
  const rule = nameFault(name) ??
    (variables.includes(name) ? "must not be a variable of hooks" : null) ??
    (prefix === undefined ? null : `must not start with ${prefix}`);
  if (rule !== null) {
    throw new TypeError(`Cannot read an input in hooks as its name ${rule}: name is "${name}"`);
  }
}
