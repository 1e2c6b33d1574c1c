import { requestGpu } from "../gpu/request.ts";
import { attentionPrograms } from "../ops/attention/launch.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { scheduleName } from "../ops/attention/schedule.ts";
import { attentionCaseOf } from "./attention_flags.ts";
import type { Arguments } from "./command.ts";
import { print, printJson } from "./output.ts";

/** `show wgsl attention`: the shaders of a problem. */
export async function showWgsl(args: Arguments): Promise<void> {
  const problem = attentionProblemOf(attentionCaseOf(args));
  using gpu = await requestGpu();
  const plan = planAttention(problem, gpu);
  const programs = attentionPrograms(problem, plan).map(({ label, code }) => ({ label, code }));
  if (args.has("json")) {
    printJson({ operator: "attention", schedule: scheduleName(plan.schedule), programs });
  } else {
    programs.forEach(({ label, code }) => print(`// ${label}\n${code}`));
  }
}
