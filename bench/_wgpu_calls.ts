import type { Gpu } from "../mod.ts";

/** What a call of an operator consists of, by hand: each of these once, or a few times. */
export function wgpuCalls({ device }: Gpu): Readonly<Record<string, () => unknown>> {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const create = (): GPUBuffer => device.createBuffer({ label: "by hand", size: 4096, usage });
  const buffers = [1, 2, 3, 4, 5].map(create);
  const [source] = buffers;
  const layout = device.createBindGroupLayout({
    entries: buffers.map((_, binding) => ({
      ...{ binding, visibility: GPUShaderStage.COMPUTE },
      buffer: { type: "read-only-storage" },
    })),
  });
  const texture = device.createTexture({
    ...{ size: [4096, 3], format: "rgba32float" },
    usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.STORAGE_BINDING,
  });
  const encoder = device.createCommandEncoder();
  return {
    "a bind group of five buffers": () => {
      const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
      device.createBindGroup({ label: "by hand", layout, entries });
    },
    "a buffer, made and destroyed": () => create().destroy(),
    "a copy into a texture": () => {
      const from = { buffer: source, offset: 0, bytesPerRow: 65536 };
      encoder.copyBufferToTexture(from, { texture }, [256, 1]);
    },
    "an empty pass": () => encoder.beginComputePass().end(),
    "two error scopes": () => {
      for (const kind of ["out-of-memory", "validation"] as const) device.pushErrorScope(kind);
      for (let scope = 0; scope < 2; scope++) device.popErrorScope();
    },
  };
}
