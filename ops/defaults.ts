import type { AdapterSummary, DriverKind } from "../gpu/adapter.ts";
import type { InputSource } from "../kernels/shared/rows.ts";

/** What a driver gets where neither a call nor a tuning names a schedule. */
export interface DriverDefaults {
  /** The kind of schedules that is tried first. */
  readonly first: "subgroup" | "workgroup";
  /** Where tokens are read, where there is a choice. */
  readonly source: InputSource;
  /** The lanes at which alone a shuffle is as cheap as a broadcast; null where lanes do not matter. */
  readonly shuffleLanes: number | null;
  /** The register tiles of a workgroup that are tried: all, those of up to 16 scores first, or these alone. */
  readonly tiles: "all" | "small first" | "small only";
  /** vec4 registers of an invocation up to which a register tile comes before one with more. */
  readonly registers: number;
  /** Scalars of the states of a channel group that an invocation holds. */
  readonly states: number;
  /** Invocations of a workgroup that does without subgroups. */
  readonly threads: number;
  /** Workgroups that keys are split for, so that few queries fill the device. */
  readonly workgroups: number;
  /** Whether more invocations run at once than most calls have: spreading work is worth a pass. */
  readonly parallel: boolean;
}

/**
 * A CPU: workgroup memory is ordinary memory, barriers suspend, registers are cached.
 * Measured on llvmpipe 2026-11-22 (docs/performance.md).
 */
const CPU: DriverDefaults = {
  ...{ first: "subgroup", source: "buffer", shuffleLanes: null, tiles: "small first" },
  ...{ registers: Infinity, states: 256, threads: 8, workgroups: 8, parallel: false },
};

/**
 * A GPU: rows pass through workgroup memory once for all invocations.
 * Not measured, as all that builds on it: no GPU was at hand.
 */
const GPU: DriverDefaults = {
  ...{ first: "workgroup", source: "buffer", shuffleLanes: null, tiles: "all" },
  ...{ registers: 64, states: 64, threads: 64, workgroups: 256, parallel: true },
};

/** By driver; `registers` are those of the tile alone, beside operands and addresses. */
const DEFAULTS: Readonly<Record<DriverKind, DriverDefaults>> = {
  /** Measured 2026-11-22: texels are gathered at once, 8 lanes are shuffled in one instruction. */
  llvmpipe: { ...CPU, source: "texture", shuffleLanes: 8 },
  /** Measured 2026-11-22 for compile time: its compiler takes minutes on tiles of 8 x 8. */
  swiftshader: { ...CPU, tiles: "small only" },
  /** By reasoning: 255 registers of 32 bits an invocation hold 8 x 8 scores and their outputs. */
  nvidia: GPU,
  /** By reasoning: 256 vector registers an invocation; RDNA keeps 10 waves of 144 of them in flight. */
  amd: GPU,
  /** By reasoning: 128 registers of 32 bytes a thread are 64 to 128 numbers an invocation. */
  intel: { ...GPU, registers: 16 },
  /** By reasoning: 128 registers of 32 bits an invocation, with operands and addresses among them. */
  apple: { ...GPU, registers: 24 },
  /** Unknown: as a large GPU, whose limits the schedules heed anyway. */
  other: GPU,
};

/** The defaults of an adapter. */
export function defaultsOf({ driver, software }: AdapterSummary): DriverDefaults {
  const known = driver === "llvmpipe" || driver === "swiftshader";
  return software && !known ? CPU : DEFAULTS[driver];
}

/** Whether a subgroup of so many lanes shuffles in a loop as cheaply as it broadcasts in text. */
export function shufflesWell(adapter: AdapterSummary, lanes: number): boolean {
  const { shuffleLanes } = defaultsOf(adapter);
  return shuffleLanes === null || shuffleLanes === lanes;
}
