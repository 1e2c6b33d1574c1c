const SCALARS = "hooks work on scalars";

/** Words and marks of WGSL and its relatives that hooks do not have, and why or what to write instead. */
const REFUSALS: Readonly<Record<string, string>> = {
  var: "hooks have no variables of their own, write let",
  const: "hooks have no const, write let",
  override: "hooks have no override, write let",
  let: "let must begin a statement before the value of the hook",
  return: "return must begin the last statement",
  if: "hooks have no if, write select(otherwise, value, condition)",
  else: "hooks have no else, write select(otherwise, value, condition)",
  switch: "hooks have no switch, write select(otherwise, value, condition)",
  for: "hooks have no loops",
  while: "hooks have no loops",
  loop: "hooks have no loops",
  break: "hooks have no loops",
  continue: "hooks have no loops",
  fn: "hooks cannot define functions, write let",
  struct: "hooks cannot define types",
  alias: "hooks cannot define types",
  discard: "hooks have no discard",
  bitcast: "hooks have no bitcast, f32(), i32(), u32() and bool() convert",
  mod: "hooks have no mod, write %",
  array: `${SCALARS}, there are no arrays`,
  ptr: `${SCALARS}, there are no pointers`,
  f16: "hooks work on f32, there is no f16",
  "=": "hooks cannot assign, write let before a new name",
  "?": "hooks have no ?, write select(otherwise, value, condition)",
  "[": `${SCALARS}, inputs are read as name(index)`,
  ".": `${SCALARS}, there are no components`,
  "{": "hooks have no blocks",
  "}": "hooks have no blocks",
  "@": "hooks have no attributes",
  "++": "hooks have no ++",
  "--": "-- means nothing in a hook, write -(-x) or a - (-b)",
  "->": "hooks cannot define functions, write let",
};

/** Why hooks do not have a word or mark; null where it is no such thing. */
export function refusal(text: string): string | null {
  if (Object.hasOwn(REFUSALS, text)) return REFUSALS[text];
  if (/^vec[234][fhiu]?$/.test(text)) return `${SCALARS}, there are no vectors`;
  if (/^mat[234]x[234][fh]?$/.test(text)) return `${SCALARS}, there are no matrices`;
  return /^(?:[-+*/%&|^]|<<|>>)=$/.test(text) ? REFUSALS["="] : null;
}
