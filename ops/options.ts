import { kindOf } from "../gpu/dtype.ts";

/** Checks what is added to a divisor. */
export function checkEps(action: string, eps: unknown): void {
  if (typeof eps === "number" && eps >= 0 && Number.isFinite(Math.fround(eps))) return;
  throw new RangeError(
    `Cannot ${action} as eps must be a finite f32 >= 0: eps is ${kindOf(eps)}`,
  );
}

/** Checks options that are true or false. */
export function checkFlags(action: string, flags: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(flags)) {
    if (typeof value === "boolean") continue;
    throw new TypeError(
      `Cannot ${action} as ${name} must be true or false: ${name} is ${kindOf(value)}`,
    );
  }
}

/** Checks an option against its values. */
export function oneOf<T>(action: string, name: string, value: T, allowed: readonly T[]): void {
  if (allowed.includes(value)) return;
  throw new RangeError(
    `Cannot ${action} as ${name} must be one of ${allowed.join(", ")}: ${name} is ${kindOf(value)}`,
  );
}
