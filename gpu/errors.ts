/** What a device lacks for the work that was asked of it. */
export interface Shortage {
  /** Feature or limit by its WebGPU name, for example `"maxComputeWorkgroupStorageSize"`. */
  readonly requirement: string;
  /** What the work needs. */
  readonly needed: string | number;
  /** What the device has. */
  readonly available: string | number;
}

/**
 * Thrown when this machine cannot do what was asked: no adapter, or a limit that is too small.
 *
 * @example Catch a machine without a GPU
 * ```ts
 * import { requestGpu, UnsupportedDeviceError } from "@tessera/kernels";
 * try {
 *   using gpu = await requestGpu();
 *   console.log(gpu.adapter.description);
 * } catch (error) {
 *   if (!(error instanceof UnsupportedDeviceError)) throw error;
 *   console.log(error.requirement, error.needed, error.available);
 * }
 * ```
 */
export class UnsupportedDeviceError extends Error implements Shortage {
  /** Name of the class. */
  override readonly name = "UnsupportedDeviceError";
  /** Feature or limit by its WebGPU name. */
  readonly requirement: string;
  /** What the work needs. */
  readonly needed: string | number;
  /** What the device has. */
  readonly available: string | number;

  /**
   * Constructs the error.
   *
   * @param message what could not be done, the rule, the current values
   * @param shortage the same as data
   */
  constructor(message: string, shortage: Shortage) {
    super(message);
    this.requirement = shortage.requirement;
    this.needed = shortage.needed;
    this.available = shortage.available;
  }
}

/**
 * Thrown by a wait (`read()`, `submit()`) when the driver refused a generated shader: a bug of this
 * library or of the driver, worth reporting with `code`.
 *
 * @example Print the text that was refused
 * ```ts
 * import { ShaderError } from "@tessera/kernels";
 * const error = new ShaderError("attention", "expected ;", "fn main() {}");
 * console.log(error.label, error.code);
 * ```
 */
export class ShaderError extends Error {
  /** Name of the class. */
  override readonly name = "ShaderError";
  /** The program that was refused. */
  readonly label: string;
  /** Its WGSL. */
  readonly code: string;

  /**
   * Constructs the error.
   *
   * @param label the program
   * @param reason the compiler's messages
   * @param code its WGSL
   */
  constructor(label: string, reason: string, code: string) {
    super(`Cannot compile ${label}: ${reason}`);
    this.label = label;
    this.code = code;
  }
}

/**
 * Thrown by a wait (`read()`, `submit()`) when the device reported an error for recorded work or was
 * lost.
 *
 * @example Tell which operator failed
 * ```ts
 * import { DeviceError } from "@tessera/kernels";
 * const error = new DeviceError("attention", "out of memory");
 * console.log(error.operator);
 * ```
 */
export class DeviceError extends Error {
  /** Name of the class. */
  override readonly name = "DeviceError";
  /** The operator whose work failed. */
  readonly operator: string;

  /**
   * Constructs the error.
   *
   * @param operator the operator whose work failed
   * @param reason what the device said
   */
  constructor(operator: string, reason: string) {
    super(`Cannot finish ${operator}: ${reason}`);
    this.operator = operator;
  }
}
