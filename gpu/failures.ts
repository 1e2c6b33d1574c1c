import { DeviceError, type ShaderError } from "./errors.ts";

/** What the device found wrong with recorded work, kept until somebody waits for it. */
export class Failures {
  readonly #pending: Set<Promise<Error | null>> = new Set();
  readonly #voided: Map<number, Error> = new Map();
  #found = 0;

  /** How many errors were found so far. */
  get found(): number {
    return this.#found;
  }

  /** Keeps an error to come. */
  keep(failure: Promise<DeviceError | ShaderError | null>): void {
    this.#pending.add(failure);
    failure.then((error) => {
      if (error === null) this.#pending.delete(failure);
      else this.#found++;
    });
  }

  /** Keeps what an error scope around an operator finds. */
  watch(operator: string, scope: Promise<GPUError | null>): void {
    this.keep(scope.then((error) => error && new DeviceError(operator, error.message)));
  }

  /** Keeps what the scope of a submission finds: it voids all that the submission would compute. */
  judge(submission: number, operators: string, scope: Promise<GPUError | null>): void {
    this.keep(
      scope.then((error) => {
        if (error === null) return null;
        const failure = new DeviceError(operators, error.message);
        this.#voided.set(submission, failure);
        return failure;
      }),
    );
  }

  /** Waits until everything so far is judged; throws the first error. */
  async settled(): Promise<void> {
    const judged = [...this.#pending];
    const found = await Promise.all(judged);
    // what was kept meanwhile is for the next wait
    judged.forEach((failure) => this.#pending.delete(failure));
    const error = found.find((error) => error !== null);
    if (error) throw error;
  }

  /** Throws if a submission was refused, as a whole. */
  ensureComputed(submission: number | undefined): void {
    const failure = submission === undefined ? undefined : this.#voided.get(submission);
    if (failure !== undefined) throw failure;
  }
}
