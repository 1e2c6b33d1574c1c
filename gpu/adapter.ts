/** Drivers that schedules know by measurement; `"other"` is any GPU that is none of these. */
export type DriverKind =
  | "llvmpipe"
  | "swiftshader"
  | "nvidia"
  | "amd"
  | "intel"
  | "apple"
  | "other";

/** Who computes. */
export interface AdapterSummary {
  /** The adapter's own description. */
  readonly description: string;
  /** Its vendor as the runtime tells it, possibly empty. */
  readonly vendor: string;
  /** Its architecture as the runtime tells it, possibly empty: browsers name it, Deno does not. */
  readonly architecture: string;
  /** The driver, as far as schedules differ. */
  readonly driver: DriverKind;
  /** Whether a CPU does the work. */
  readonly software: boolean;
}

const DRIVERS: readonly [DriverKind, RegExp][] = [
  ["llvmpipe", /llvmpipe|lavapipe/i],
  ["swiftshader", /swiftshader/i],
  ["nvidia", /nvidia|geforce|quadro|tesla|\bh[12]00\b/i],
  ["amd", /\bamd\b|radeon/i],
  ["intel", /intel/i],
  ["apple", /apple/i],
];

/** Summarises an adapter. */
export function summarise(info: GPUAdapterInfo): AdapterSummary {
  const text = [info.description, info.vendor, info.device, info.architecture].join(" ");
  const driver = DRIVERS.find(([, pattern]) => pattern.test(text))?.[0] ?? "other";
  const software = driver === "llvmpipe" || driver === "swiftshader" || info.isFallbackAdapter;
  const { description, vendor, architecture } = info;
  return { description, vendor, architecture, driver, software };
}
