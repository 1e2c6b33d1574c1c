/** The adapter of this machine, asked for once; null where tests that need one are ignored. */
export const adapter: GPUAdapter | null = await navigator.gpu?.requestAdapter() ?? null;
