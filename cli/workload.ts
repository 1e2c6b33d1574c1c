import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { Picture } from "./pattern/picture.ts";
import type { Choices } from "./tune/choices.ts";

/** A problem of an operator, as `profile` and the benchmarks see it. */
export interface Workload {
  readonly operator: string;
  /** What determines it, as JSON prints it. */
  readonly problem: object;
  /** One line that tells it from its neighbours. */
  readonly name: string;
  /** Largest error ratio with which it may be timed. */
  readonly tolerance: number;
  /** Operations by the definition. */
  readonly flops: number;
  /** Bytes that must move at least: inputs once, outputs once. */
  readonly bytes: number;
  /** Other ways to the same result, by what they are called; `naive` is one. */
  readonly rivals: Readonly<Record<string, () => Workload>>;
  /** Rivals that are always timed too. */
  readonly always: readonly string[];
  /** Name of the schedule that a device runs; throws where none fits. */
  scheduleOn(gpu: Gpu): string;
  /** Names of all schedules that fit, the default first. */
  schedulesOn(gpu: Gpu): string[];
  /** What a tuner chooses between. */
  choices(gpu: Gpu): Choices;
  /** Uploads the inputs. */
  load(gpu: Gpu): LoadedWorkload;
  /** Draws who sees whom, where not everyone sees everyone. */
  picture?(): Picture;
  /** What else the times say, of a model of the schedule or in other units. */
  model?(
    gpu: Gpu,
    medianMs: number,
    rivalMs: Readonly<Record<string, number>>,
  ): object | Promise<object>;
}

/** A workload on the device, ready to be computed many times. */
export interface LoadedWorkload extends Disposable {
  /** Records one call and returns its outputs, `out` first. */
  compute(): readonly Tensor[];
  /** Error ratio of `out` against float64, on as many rows as a check before timing may take. */
  errorOf(out: ArrayLike<number>): number;
}

/** Records a call whose outputs are freed at once. */
export function callOnce(loaded: LoadedWorkload): void {
  for (const tensor of loaded.compute()) tensor.dispose();
}

/** What times say of an operator whose work grows with the tokens alone. */
export function tokenModel(tokens: number, bytes: number): NonNullable<Workload["model"]> {
  return (_, medianMs) => ({
    tokensPerSecond: 1000 * tokens / medianMs,
    bytesPerToken: bytes / tokens,
  });
}

/** How far apart the tokens of a picture are so that it has no more than a reader can look at. */
export function pictureStep(tokens: number): number {
  return Math.ceil(tokens / 128);
}
