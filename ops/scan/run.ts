import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchScan } from "./launch.ts";
import { planScan } from "./plan.ts";
import type { CheckedScan } from "./problem.ts";

/** The tensors of a call, by the names that kernels have for them. */
interface ScanTensors<T extends "f32" | "f16", S extends string> {
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** What out has the shape and dtype of. */
  readonly like: Tensor<T>;
  readonly initial: Readonly<Record<S, Tensor>> | undefined;
  /** Axes behind `[N]` of the parts of a state. */
  readonly axes: Readonly<Record<S, readonly number[]>>;
  /** Whether `initial` receives the state behind the last token, too. */
  readonly inPlace?: boolean;
}

/** Plans and records a scan. */
export function runScan<T extends "f32" | "f16", S extends string>(
  { problem, gpu }: CheckedScan,
  { inputs, like, initial, axes, inPlace = false }: ScanTensors<T, S>,
): { out: Tensor<T>; final?: Record<S, Tensor<"f32">> } {
  const plan = planScan(problem, gpu);
  return record(gpu, problem.kind, (operation) => {
    const out = gpu.empty(like.shape, like.dtype);
    const rows = problem.bounds.length - 1;
    const names = Object.keys(axes) as S[];
    const picked = <V>(pick: (name: S) => V): Record<S, V> =>
      Object.fromEntries(names.map((name) => [name, pick(name)])) as Record<S, V>;
    const given = initial && picked((name) => initial[name]);
    const final = problem.final && !inPlace
      ? picked((name) => gpu.empty([rows, ...axes[name]], "f32"))
      : undefined;
    launchScan(operation, {
      ...{ problem, plan, inputs, outputs: { out } },
      initial: given ?? null,
      final: (inPlace ? given : final) ?? null,
      device: gpu,
    });
    return { out, ...(final && { final }) };
  });
}
