/** Types of the values that hooks work on. */
export type HookType = "f32" | "i32" | "u32" | "bool";

/** A tensor that a hook may read. */
export interface HookInput {
  /** Type of its elements as hooks see them. */
  readonly type: "f32" | "i32" | "u32";
  /** How many indices it takes. */
  readonly rank: number;
}

/** What a hook may name and must be. */
export interface HookSignature {
  /** What the hook is, for messages: "score", "mask", "weight". */
  readonly name: string;
  /** Variables by name, for example { s: "f32", b: "i32", h: "i32", i: "i32", j: "i32" }. */
  readonly variables: Readonly<Record<string, HookType>>;
  /** Named tensors, read by calls such as slope(h) or table(h, i - j + 63). */
  readonly inputs: Readonly<Record<string, HookInput>>;
  /** Type of its value. */
  readonly result: HookType;
}
