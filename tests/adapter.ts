// Without OpenGL, as the tasks in deno.json: libEGL's exit handler frees the state of threads that
// are about to free it themselves, which aborts about one process in forty after its last test.
if (!Deno.env.has("DENO_WEBGPU_BACKEND")) {
  Deno.env.set("DENO_WEBGPU_BACKEND", "vulkan,metal,dx12");
}

/** The adapter of this machine, asked for once; null where tests that need one are ignored. */
export const adapter: GPUAdapter | null = await navigator.gpu?.requestAdapter() ?? null;
