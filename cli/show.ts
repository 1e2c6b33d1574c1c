import { requestGpu } from "../gpu/request.ts";
import { attentionPrograms } from "../ops/attention/launch.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { scheduleName } from "../ops/attention/schedule.ts";
import { ATTENTION_FLAGS, attentionCaseOf } from "./attention_flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { print, printJson } from "./output.ts";

/** `show wgsl`: the shaders of a problem. */
export const show: Command = {
  summary: "Prints the shaders that a problem runs: show wgsl <operator>.",
  positional: "wgsl <operator>",
  flags: ATTENTION_FLAGS,
  async run(args) {
    const [what, operator] = args.positional;
    if (what !== "wgsl" || operator !== "attention") {
      throw new UsageError(
        `Cannot show "${args.positional.join(" ")}": what can be shown is "wgsl attention"`,
      );
    }
    const c = attentionCaseOf(args);
    using gpu = await requestGpu();
    const problem = attentionProblemOf(c);
    const plan = planAttention(problem, gpu);
    const programs = attentionPrograms(problem, plan).map(({ label, code }) => ({ label, code }));
    if (args.has("json")) printJson({ operator, schedule: scheduleName(plan.schedule), programs });
    else programs.forEach(({ label, code }) => print(`// ${label}\n${code}`));
    return EXIT.fine;
  },
};
