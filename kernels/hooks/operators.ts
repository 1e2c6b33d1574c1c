import type { Class } from "./types.ts";

/** Operators that stand together in the grammar. */
export type OperatorGroup = "product" | "sum" | "shift" | "comparison" | LogicGroup;

type LogicGroup = "and" | "or" | "xor" | "short and" | "short or";

/** What an operator takes and where it stands. */
export interface Operator {
  readonly group: OperatorGroup;
  readonly takes: Class;
  /** Whether its value is a bool whatever it takes. */
  readonly compares?: boolean;
}

/** The binary operators. */
export const BINARY: Readonly<Record<string, Operator>> = {
  "*": { group: "product", takes: "number" },
  "/": { group: "product", takes: "number" },
  "%": { group: "product", takes: "number" },
  "+": { group: "sum", takes: "number" },
  "-": { group: "sum", takes: "number" },
  "<<": { group: "shift", takes: "integer" },
  ">>": { group: "shift", takes: "integer" },
  "<": { group: "comparison", takes: "number", compares: true },
  "<=": { group: "comparison", takes: "number", compares: true },
  ">": { group: "comparison", takes: "number", compares: true },
  ">=": { group: "comparison", takes: "number", compares: true },
  "==": { group: "comparison", takes: "scalar", compares: true },
  "!=": { group: "comparison", takes: "scalar", compares: true },
  "&": { group: "and", takes: "bits" },
  "^": { group: "xor", takes: "integer" },
  "|": { group: "or", takes: "bits" },
  "&&": { group: "short and", takes: "bool" },
  "||": { group: "short or", takes: "bool" },
};

/** What the operators before an operand take. */
export const UNARY: Readonly<Record<string, Class>> = {
  "-": "signed",
  "!": "bool",
  "~": "integer",
};

/** Groups from the loosest: text is read so, and refused where WGSL wants parentheses. */
export const LOOSENESS: readonly OperatorGroup[] = [
  ...["short or", "short and", "or", "xor", "and"] as const,
  ...["comparison", "shift", "sum", "product"] as const,
];

/** Groups that may stand in an operand of a group without parentheses. */
export const INSIDE: Readonly<Record<OperatorGroup, readonly OperatorGroup[]>> = {
  "product": ["product"],
  "sum": ["sum", "product"],
  "shift": [],
  "comparison": ["shift", "sum", "product"],
  "and": ["and"],
  "or": ["or"],
  "xor": ["xor"],
  "short and": ["short and", "comparison", "shift", "sum", "product"],
  "short or": ["short or", "comparison", "shift", "sum", "product"],
};
