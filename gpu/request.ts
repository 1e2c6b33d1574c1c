import { summarise } from "./adapter.ts";
import { Gpu } from "./device.ts";
import { kindOf } from "./dtype.ts";
import { UnsupportedDeviceError } from "./errors.ts";
import { openDevice, probeFeatures } from "./features.ts";
import { type GpuLimits, LIMITS, readLimits } from "./limits.ts";
import { checkOptionNames } from "./options.ts";
import { adapterKey, checkTuning, tunedClasses, type Tuning } from "./tuning.ts";

/** Options of {@linkcode requestGpu}. */
export interface GpuOptions {
  /**
   * Which adapter to prefer on a machine with several.
   *
   * @default {"high-performance"}
   */
  powerPreference?: GPUPowerPreference;
  /**
   * Whether an adapter that computes on the CPU is `"allowed"`, `"required"` or `"forbidden"`.
   *
   * @default {"allowed"}
   */
  software?: "allowed" | "required" | "forbidden";
  /**
   * Lower limits than the adapter's, to see how work is split on a smaller device.
   *
   * @default {{}}
   */
  limits?: Partial<GpuLimits>;
  /**
   * Fills new buffers with NaN, so that an element that a kernel forgets is seen.
   *
   * @default {false}
   */
  poison?: boolean;
  /**
   * What `tessera tune --save FILE` wrote, parsed: schedules chosen by measurement, for the adapters
   * and classes of problems that it knows. A schedule that a call names wins over it; an entry that
   * does not fit a call is passed over.
   */
  tuning?: Tuning;
}

/**
 * Opens the GPU.
 *
 * @param options which adapter, which limits
 * @returns a device with its limits and features probed
 * @throws UnsupportedDeviceError when there is no suitable adapter
 *
 * @example See what this machine has
 * ```ts
 * import { requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * console.log(gpu.adapter.description, gpu.features.subgroups?.size);
 * ```
 */
export async function requestGpu(options: GpuOptions = {}): Promise<Gpu> {
  checkOptions(options);
  const { powerPreference = "high-performance", software = "allowed" } = options;
  const forceFallbackAdapter = software === "required";
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference, forceFallbackAdapter });
  const summary = adapter ? summarise(adapter.info) : null;
  const suitable = summary !== null &&
    (software === "allowed" || summary.software === (software === "required"));
  if (!adapter || summary === null || !suitable) {
    throw new UnsupportedDeviceError(
      `Cannot request a GPU device: no adapter is available (software adapters are ${software})`,
      { requirement: "adapter", needed: 1, available: 0 },
    );
  }
  const device = await openDevice(adapter);
  const features = await probeFeatures(device, adapter);
  const limits = readLimits(device, summary, options.limits);
  const tuned = tunedClasses(options.tuning, adapterKey(summary, features));
  return new Gpu(device, summary, features, limits, options.poison ?? false, tuned);
}

const OPTIONS: readonly (keyof GpuOptions)[] = [
  ...["powerPreference", "software", "limits", "poison", "tuning"] as const,
];
const SOFTWARE: readonly unknown[] = [undefined, "allowed", "required", "forbidden"];

function checkOptions(options: GpuOptions): void {
  const action = "request a GPU device";
  checkOptionNames(action, options, OPTIONS);
  if (!SOFTWARE.includes(options.software)) {
    throw new TypeError(
      `Cannot ${action} as software must be "allowed", "required" or "forbidden": software is ${
        kindOf(options.software)
      }`,
    );
  }
  if (options.tuning !== undefined) checkTuning(action, options.tuning);
  checkOptionNames(`${action} with lowered limits`, options.limits ?? {}, LIMITS);
  for (const [name, limit] of Object.entries(options.limits ?? {})) {
    if (typeof limit === "number" && limit > 0) continue;
    throw new RangeError(
      `Cannot ${action} as a limit must be a number > 0: ${name} is ${kindOf(limit)}`,
    );
  }
}
