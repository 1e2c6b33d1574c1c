import type { Gpu } from "../gpu/device.ts";
import type { GpuOptions } from "../gpu/request.ts";
import type { Selection } from "./check_groups.ts";
import { runGroup, type RunOptions } from "./check_run.ts";
import type { CheckGroup, Outcome } from "./outcome.ts";

/** Runs groups by their index, one at a time. */
export interface Runner {
  /** Runs a group. */
  run(index: number): Promise<readonly Outcome[]>;
}

/** What is asked of a worker first, with a port for the answers. */
export interface WorkerStart {
  readonly selection: Selection;
  readonly bail: boolean;
  /** What its device is opened with. */
  readonly device: GpuOptions;
}

/** What a worker tells: what comes next, the outcomes of a group, or why there are none. */
export type WorkerAnswer =
  | { readonly step: string }
  | { readonly outcomes: readonly Outcome[] }
  | { readonly error: string };

/** Runs groups here. */
export function localRunner(
  gpu: Gpu,
  groups: readonly CheckGroup[],
  options: RunOptions,
): Runner {
  return { run: (index) => runGroup(gpu, groups[index], options) };
}

/** Runs groups in a worker, on a device of its own, so that its driver compiles on a thread of its own. */
export class WorkerRunner implements Runner, Disposable {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #broken: Promise<never>;
  readonly #step: RunOptions["step"];

  /** Starts a worker. */
  constructor(start: WorkerStart, step: RunOptions["step"]) {
    this.#worker = new Worker(new URL("./check_worker.ts", import.meta.url), { type: "module" });
    this.#step = step;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#broken = new Promise((_, failed) => {
      this.#worker.addEventListener("error", (event) => {
        event.preventDefault();
        failed(new Error(event.message));
      });
    });
    this.#worker.postMessage(start, [port2]);
  }

  run(index: number): Promise<readonly Outcome[]> {
    const answer = new Promise<readonly Outcome[]>((done, failed) => {
      this.#port.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => {
        if ("step" in data) this.#step(data.step);
        else if ("outcomes" in data) done(data.outcomes);
        else failed(new Error(data.error));
      };
    });
    this.#port.postMessage(index);
    return Promise.race([answer, this.#broken]);
  }

  /** Ends the worker, whatever it does. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
    this.#port.close();
  }
}
