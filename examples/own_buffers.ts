// The caller's own GPUBuffers and command encoder: attention between two passes of one's own.
// deno run examples/own_buffers.ts
import { attention, requestGpu } from "../mod.ts";

const shape = [1, 256, 4, 64];
const bytes = 4 * shape.reduce((product, size) => product * size, 1);

using gpu = await requestGpu();
const { device } = gpu;
const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
const buffer = device.createBuffer({ size: bytes, usage });
device.queue.writeBuffer(buffer, 0, Float32Array.from({ length: bytes / 4 }, Math.random));

// a tensor over the buffer: nothing is copied, and disposing it leaves the buffer alone
using x = gpu.wrap(buffer, shape, "f32");

const encoder = device.createCommandEncoder();
const before = device.createBuffer({ size: bytes, usage });
encoder.copyBufferToBuffer(buffer, 0, before, 0, bytes); // any pass of one's own
const { out } = gpu.record(encoder, () => attention(x, x, x));
encoder.copyBufferToBuffer(out.buffer, 0, before, 0, bytes);
device.queue.submit([encoder.finish()]);

console.log("attention of x with itself:", (await out.read()).slice(0, 4));
out.dispose();
