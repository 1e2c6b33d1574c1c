/** Runs a shader of two bindings, words in and floats out, with a workgroup for each row. */
export async function runShader(
  device: GPUDevice,
  code: string,
  words: ArrayBuffer,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): Promise<Float32Array> {
  const bytes = 4 * rows * columns;
  const values = device.createBuffer({
    ...{ size: words.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST },
  });
  const out = device.createBuffer({
    ...{ size: bytes, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC },
  });
  const read = device.createBuffer({
    ...{ size: bytes, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ },
  });
  device.queue.writeBuffer(values, 0, words);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const layout = pipeline.getBindGroupLayout(0);
  const entries = [values, out].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
  pass.dispatchWorkgroups(rows);
  pass.end();
  encoder.copyBufferToBuffer(out, 0, read, 0, bytes);
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error !== null) throw new TypeError(error.message);
  await read.mapAsync(GPUMapMode.READ);
  const result = new Float32Array(read.getMappedRange().slice(0));
  for (const buffer of [values, out, read]) buffer.destroy();
  return result;
}
