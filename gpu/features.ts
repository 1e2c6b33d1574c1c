/** Subgroups as this runtime and adapter really have them. */
export interface SubgroupFeatures {
  /** Lanes of a subgroup, the same in every shader. */
  readonly size: number;
  /** Whether WGSL must say `enable subgroups;` (Chromium) or must not (Deno). */
  readonly directive: boolean;
}

/** Features found by probing. */
export interface GpuFeatures {
  /** Whether shaders may use the `f16` type; f16 tensors work without it. */
  readonly f16: boolean;
  /** Subgroups proved by a shader, or null where they are absent or of varying size. */
  readonly subgroups: SubgroupFeatures | null;
  /** Whether passes can be timed on the device. */
  readonly timestamps: boolean;
}

const WANTED: readonly GPUFeatureName[] = ["shader-f16", "timestamp-query"];
const LANES = 64;

/**
 * Opens a device with every feature that kernels can use and the adapter's own limits.
 *
 * Deno offers subgroups although it does not list them, so they are requested by name first.
 */
export async function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredFeatures = WANTED.filter((feature) => adapter.features.has(feature));
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const limit = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof limit === "number") requiredLimits[name] = limit;
  }
  const subgroups = "subgroups" as GPUFeatureName;
  for (const features of [[...requiredFeatures, subgroups], requiredFeatures, []]) {
    try {
      return await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
    } catch {
      // the runtime does not know or does not grant a feature: ask for less
    }
  }
  return await adapter.requestDevice();
}

/** Finds out which features work, by running a shader where a name is not proof enough. */
export async function probeFeatures(
  device: GPUDevice,
  adapter: GPUAdapter,
): Promise<GpuFeatures> {
  return {
    f16: device.features.has("shader-f16"),
    subgroups: await probeSubgroups(device, adapter),
    timestamps: device.features.has("timestamp-query"),
  };
}

async function probeSubgroups(
  device: GPUDevice,
  adapter: GPUAdapter,
): Promise<SubgroupFeatures | null> {
  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  if (subgroupMinSize !== subgroupMaxSize) return null;
  for (const directive of [false, true]) {
    const lanes = await runProbe(device, directive);
    if (lanes !== null) return provedSize(lanes, directive);
  }
  return null;
}

/** Every lane writes its subgroup's size, its own index, and an index handed round from lane 1. */
const PROBE = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> seen: array<vec4u>;

@compute @workgroup_size(${LANES})
fn main(
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) size: u32,
) {
  seen[index] = vec4u(size, lane, subgroupBroadcast(index, 1u), subgroupAdd(1u));
}`;

async function runProbe(device: GPUDevice, directive: boolean): Promise<Uint32Array | null> {
  const size = LANES * 16;
  device.pushErrorScope("validation");
  const seen = device.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const copy = device.createBuffer({
    size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    const module = device.createShaderModule({
      label: "subgroup probe",
      code: (directive ? "enable subgroups;" : "") + PROBE,
    });
    const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer: seen } }],
      }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(seen, 0, copy, 0, size);
    device.queue.submit([encoder.finish()]);
    const error = await device.popErrorScope();
    if (error !== null) return null;
    await copy.mapAsync(GPUMapMode.READ);
    return new Uint32Array(copy.getMappedRange().slice(0));
  } finally {
    seen.destroy();
    copy.destroy();
  }
}

/** Accepts subgroups only if lanes follow the invocation index and a broadcast stays inside. */
function provedSize(lanes: Uint32Array, directive: boolean): SubgroupFeatures | null {
  const size = lanes[0];
  const proved = [4, 8, 16, 32, 64].includes(size) &&
    Array.from({ length: LANES }, (_, index) => {
      const first = index - index % size;
      const expected = [size, index % size, first + 1, size];
      return expected.every((value, field) => lanes[index * 4 + field] === value);
    }).every((lane) => lane);
  return proved ? { size, directive } : null;
}
