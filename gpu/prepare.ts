import { ownBlock } from "./bind_groups.ts";
import { DeviceError } from "./errors.ts";
import { MemoryMeter } from "./memory.ts";
import { type Pipeline, texelFormat } from "./pipeline.ts";
import type { Program } from "./program.ts";
import { Rehearsal } from "./rehearsal.ts";
import type { Runtime } from "./runtime.ts";
import { type Scratch, ScratchPool } from "./scratch.ts";
import { Tape } from "./tape.ts";
import { vastParams } from "./vast.ts";

/** Bytes to bind: no element of a binding has more. */
const SMALL = 64;

/** A call of operators. */
type Call = () => unknown;

/** Compiles all that calls would launch, and waits until it can run. */
export async function prepareCalls(runtime: Runtime, calls: readonly Call[]): Promise<void> {
  const { device, pipelines, recorder } = runtime;
  recorder.ensureAlive("the preparation");
  using stack = new DisposableStack();
  const pool = stack.adopt(new ScratchPool(device, new MemoryMeter()), (pool) => pool.clear());
  const jobs: Promise<void>[] = [];
  for (const program of rehearse(runtime, calls, pool)) {
    if (pipelines.has(program)) continue;
    const job = pipelines.load(program).then((pipeline) => warm(device, program, pipeline, pool));
    jobs.push(job);
    // Deno compiles on this thread: let the driver begin with this program before the next one
    await Promise.race([job.catch(() => {}), nextTurn()]);
  }
  if (jobs.length === 0) return;
  await Promise.allSettled(jobs);
  await Promise.all(jobs);
  await device.queue.onSubmittedWorkDone();
  recorder.ensureAlive("the preparation");
}

/** Makes calls that launch nothing; returns the programs that they would launch. */
function rehearse(runtime: Runtime, calls: readonly Call[], pool: ScratchPool): Program[] {
  const [buffer, texture] = [pool.buffer(SMALL), pool.texture(1, "rgba32float")];
  const rehearsal = new Rehearsal(buffer.resource, texture.view);
  // on a tape that nobody keeps: no call may remember that it launched nothing
  const tape = new Tape({ tensors: [], buffers: [] });
  const { recorder } = runtime;
  const outer = recorder.rehearsal;
  recorder.rehearsal = rehearsal;
  try {
    recorder.taped(tape, () => runtime.scope(() => calls.forEach(callOnce), () => new Set()));
  } finally {
    recorder.rehearsal = outer;
    pool.giveBack([buffer, texture]);
  }
  return [...rehearsal.programs.values()];
}

function callOnce(call: Call): void {
  const result = call();
  if (result instanceof Promise) {
    // what it goes on to do fails, but nobody waits for that
    result.catch(() => {});
    throw new TypeError("Cannot prepare an async function as it must call operators at once");
  }
}

/** Lets drivers that compile at the first dispatch, such as llvmpipe, do so: one of nothing will do. */
async function warm(
  device: GPUDevice,
  program: Program,
  { compute, layout }: Pipeline,
  pool: ScratchPool,
): Promise<void> {
  using stack = new DisposableStack();
  const lend = <S extends Scratch>(loan: S): S => stack.adopt(loan, () => pool.giveBack([loan]));
  const { buffer: uniform } = ownBlock(device, program, vastParams(program));
  stack.defer(() => uniform.destroy());
  const resources: GPUBindingResource[] = program.bindings.map((binding) =>
    binding.access === "texture"
      ? lend(pool.texture(1, texelFormat(binding))).view
      : { buffer: lend(pool.buffer(SMALL)).resource }
  );
  device.pushErrorScope("validation");
  const entries = [...resources, { buffer: uniform }].map((resource, binding) => ({
    binding,
    resource,
  }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(compute);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries }), [0]);
  pass.dispatchWorkgroups(0);
  pass.end();
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error !== null) throw new DeviceError(program.label, error.message);
}

function nextTurn(): Promise<void> {
  return new Promise((done) => setTimeout(done, 0));
}
