import type { Gpu } from "../gpu/device.ts";
import type { Program } from "../gpu/program.ts";
import { requestGpu } from "../gpu/request.ts";
import { runtimeOf } from "../gpu/runtime.ts";
import { attentionPrograms } from "../ops/attention/launch.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { scheduleName } from "../ops/attention/schedule.ts";
import { naivePrograms } from "../ops/neighborhood/launch_naive.ts";
import { planNeighborhood } from "../ops/neighborhood/plan.ts";
import { neighborhoodProblemOf } from "../ops/neighborhood/problem.ts";
import { attentionCaseOf } from "./attention_flags.ts";
import { problemOf } from "./attention_problem.ts";
import type { Arguments } from "./command.ts";
import { neighborhoodCaseOf } from "./neighborhood_flags.ts";
import { print, printJson } from "./output.ts";
import { profiledOperator } from "./profiled.ts";
import { callOnce, type Workload } from "./workload.ts";

/** What a device runs for a problem. */
interface Shaders {
  readonly schedule: string;
  readonly programs: readonly Program[];
}

/** `show wgsl attention`: the shaders of a problem. */
export async function showAttentionWgsl(args: Arguments): Promise<void> {
  const problem = problemOf(attentionCaseOf(args));
  await showWgsl("attention", args, (gpu) => {
    const plan = planAttention(problem, gpu);
    return { schedule: scheduleName(plan.schedule), programs: attentionPrograms(problem, plan) };
  });
}

/** `show wgsl neighborhoodAttention`: the shaders of a problem. */
export async function showNeighborhoodWgsl(args: Arguments): Promise<void> {
  const problem = neighborhoodProblemOf(neighborhoodCaseOf(args));
  await showWgsl("neighborhoodAttention", args, (gpu) => {
    const plan = planNeighborhood(problem, gpu);
    const programs = plan.kind === "naive"
      ? Object.values(naivePrograms(problem))
      : attentionPrograms(plan.problem, plan.attention);
    return { schedule: plan.name, programs };
  });
}

/** `show wgsl` of an operator that `profile` knows: the shaders of a call. */
export async function showCallWgsl(operator: string, args: Arguments): Promise<void> {
  const [workload] = profiledOperator(operator).workloads(args).workloads;
  await showWgsl(operator, args, (gpu) => ({
    schedule: workload.scheduleOn(gpu),
    programs: programsOf(gpu, workload),
  }));
}

/** The programs that a call launches, each once; this Gpu launches nothing from then on. */
function programsOf(gpu: Gpu, workload: Workload): Program[] {
  const programs = new Map<string, Program>();
  runtimeOf(gpu).recorder.launch = ({ program }) => void programs.set(program.code, program);
  using loaded = workload.load(gpu);
  callOnce(loaded);
  return [...programs.values()];
}

async function showWgsl(
  operator: string,
  args: Arguments,
  shadersOn: (gpu: Gpu) => Shaders,
): Promise<void> {
  using gpu = await requestGpu();
  const { schedule, programs } = shadersOn(gpu);
  const shown = programs.map(({ label, code }) => ({ label, code }));
  if (args.has("json")) printJson({ operator, schedule, programs: shown });
  else shown.forEach(({ label, code }) => print(`// ${label}\n${code}`));
}
