import { ATTENTION_FLAGS } from "./attention_flags.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { NEIGHBORHOOD_PROBLEM_FLAGS } from "./neighborhood_flags.ts";
import { joinedFlags, PROFILED } from "./profiled.ts";
import { ATTENTION_PATTERN_FLAGS, showAttentionPattern } from "./show_attention.ts";
import { NEIGHBORHOOD_PATTERN_FLAGS, showNeighborhoodPattern } from "./show_neighborhood.ts";
import { showAttentionWgsl, showCallWgsl, showNeighborhoodWgsl } from "./show_wgsl.ts";

/** Something that can be shown. */
interface Shown {
  readonly flags: Command["flags"];
  run(args: Arguments): Promise<void>;
}

/** The shaders of an operator, for the problems of `profile`. */
function callWgsl(operator: string): Shown {
  return { flags: PROFILED[operator].flags, run: (args) => showCallWgsl(operator, args) };
}

/** What can be shown, by the words that name it. */
const SHOWN: Readonly<Record<string, Shown>> = {
  "pattern attention": { flags: ATTENTION_PATTERN_FLAGS, run: showAttentionPattern },
  "pattern neighborhoodAttention": {
    flags: NEIGHBORHOOD_PATTERN_FLAGS,
    run: showNeighborhoodPattern,
  },
  "wgsl attention": { flags: ATTENTION_FLAGS, run: showAttentionWgsl },
  "wgsl neighborhoodAttention": { flags: NEIGHBORHOOD_PROBLEM_FLAGS, run: showNeighborhoodWgsl },
  "wgsl recurrence": callWgsl("recurrence"),
  "wgsl simpleGla": callWgsl("simpleGla"),
  "wgsl gla": callWgsl("gla"),
  "wgsl deltaRule": callWgsl("deltaRule"),
  "wgsl gatedDeltaRule": callWgsl("gatedDeltaRule"),
  "wgsl kda": callWgsl("kda"),
};

/** `show`: who sees whom, and shaders. */
export const show: Command = {
  summary: "Draws who sees whom, show pattern <operator>; prints shaders, show wgsl <operator>.",
  positional: "pattern|wgsl <operator>",
  flags: joinedFlags(Object.values(SHOWN)),
  flagsFor(words) {
    const named = Object.keys(SHOWN).find((name) =>
      name.split(" ").every((word) => words.includes(word))
    );
    return named === undefined ? this.flags : SHOWN[named].flags;
  },
  async run(args) {
    const what = args.positional.join(" ");
    if (!Object.hasOwn(SHOWN, what)) {
      const names = Object.keys(SHOWN).map((name) => `"${name}"`).join(", ");
      throw new UsageError(`Cannot show "${what}": what can be shown is ${names}`);
    }
    await SHOWN[what].run(args);
    return EXIT.fine;
  },
};
