import type { Gpu } from "../../gpu/device.ts";
import type { CheckedHooks } from "./hooks.ts";

/**
 * Refuses hooks that read more tensors than a shader may bind beside `others`, and tensors that exceed
 * a binding, for they are bound whole.
 */
export function checkHookBindings(
  action: string,
  { device, limits }: Pick<Gpu, "device" | "limits">,
  { hooks, tensors }: CheckedHooks,
  others: number,
): void {
  const most = device.limits.maxStorageBuffersPerShaderStage - others;
  if (tensors.length > most) {
    throw new RangeError(
      `Cannot ${action} as hooks must read at most ${most} tensors beside the others here: they read ${tensors.length}`,
    );
  }
  const { maxStorageBufferBindingSize: bytes } = limits;
  const large = tensors.findIndex(({ buffer }) => buffer.size > bytes);
  if (large < 0) return;
  throw new RangeError(
    `Cannot ${action} as inputs.${
      hooks.tensors[large].name
    } must fit one binding, ${bytes} bytes: it takes ${tensors[large].buffer.size}`,
  );
}
