/**
 * A worker of `check`: opens a device of its own and runs the groups whose numbers it is sent.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { chooseGroups } from "./check_groups.ts";
import { runGroup } from "./check_run.ts";
import type { WorkerAnswer, WorkerStart } from "./check_runners.ts";
import type { CheckGroup } from "./outcome.ts";
import { reasonOf } from "./reason.ts";

addEventListener("message", (event) => {
  const { data, ports: [port] } = event as MessageEvent<WorkerStart>;
  serve(data, port);
});

function serve({ bail, ...start }: WorkerStart, port: MessagePort): void {
  const answer = (answer: WorkerAnswer): void => port.postMessage(answer);
  let opened: ReturnType<typeof open> | null = null;
  port.onmessage = async ({ data: index }: MessageEvent<number>) => {
    try {
      const { gpu, groups } = await (opened ??= open(start));
      const step = (what: string): void => answer({ step: what });
      answer({ outcomes: await runGroup(gpu, groups[index], { bail, step }) });
    } catch (error) {
      answer({ error: reasonOf(error) });
    }
  };
}

async function open(
  { selection, device }: Omit<WorkerStart, "bail">,
): Promise<{ gpu: Gpu; groups: CheckGroup[] }> {
  const gpu = await requestGpu(device);
  return { gpu, groups: chooseGroups(selection, gpu) };
}
