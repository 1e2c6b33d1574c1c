import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { attentionGroups, type CaseGroup, randomGroup } from "./cases.ts";
import { caseName, checkCase } from "./attention_case.ts";
import { checkedSchedules } from "./attention_flags.ts";
import { cacheGroup } from "./cache_cases.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { convGroup } from "./conv_cases.ts";
import { FAMILIES, FAST_WEIGHTS } from "./families.ts";
import { familyGroups } from "./family_cases.ts";
import { fastWeightsGroups } from "./fast_weights_cases.ts";
import { fullGroup } from "./full_cases.ts";
import { TOLERANCE } from "./host_tensor.ts";
import { logLinearGroup } from "./log_linear_cases.ts";
import { mergeGroup } from "./merge_cases.ts";
import { neighborhoodGroups } from "./neighborhood_cases.ts";
import { nearest } from "../gpu/nearest.ts";
import { caseItems, type CheckGroup, type CheckSelection, type Outcome } from "./outcome.ts";
import { figure, paint, print, printJson, Progress } from "./output.ts";
import { programmableGroups } from "./programmable_cases.ts";
import { poolGroup } from "./pool_cases.ts";
import { PROPERTIES } from "./properties.ts";
import { recurrenceGroups } from "./recurrence_cases.ts";
import { ropeGroup } from "./rope_cases.ts";
import { scanGroups } from "./scan_cases.ts";
import { selectGroups } from "./select_cases.ts";
import { selectiveScanGroup } from "./selective_scan_cases.ts";
import { statisticsGroups } from "./statistics_cases.ts";

interface GroupOutcome {
  readonly operator: string;
  readonly group: string;
  readonly ok: boolean;
  readonly outcomes: readonly Outcome[];
}

const DEFAULT_CASES = 24;
const OPERATORS = [
  "attention",
  "mergeAttention",
  "neighborhoodAttention",
  "attentionStatistics",
  "recurrence",
  ...Object.keys(FAMILIES),
  ...Object.keys(FAST_WEIGHTS),
  ...["linearAttentionFull", "scan", "hgrn", "logCumsumExp", "softmaxScan", "selectiveScan"],
  ...["logLinearAttention", "causalConv1d", "rope", "appendToCache"],
  ...["poolTokens", "selectTopK", "selectTopP", "selectThreshold", "argSort", "gatherTokens"],
  "assignCentroids",
  "platform",
];

/** `check`: every operator, schedule and dtype against float64. */
export const check: Command = {
  summary: "Compares every operator, schedule and dtype with float64 on this adapter.",
  positional: "[names…]",
  flags: {
    quick: { help: "leave out the long and the rare problems" },
    cases: { value: "N", help: `seeded random problems, ${DEFAULT_CASES} by default` },
    seed: { value: "N", help: "seed of the random problems, 1 by default" },
    dtype: { value: "f32|f16", help: "only problems of one dtype" },
    bail: { help: "stop at the first failure" },
  },
  async run(args) {
    const selection = parseSelection(args);
    using gpu = await requestGpu({ poison: true });
    const works = chooseWork(selection, gpu);
    const results = await runAll(gpu, works, args);
    const failed = results.filter(({ ok }) => !ok).length;
    const problems = results.reduce((sum, { outcomes }) => sum + outcomes.length, 0);
    if (args.has("json")) {
      printJson({ ok: failed === 0, adapter: gpu.adapter.description, problems, groups: results });
    } else {
      const verdict = failed === 0
        ? paint("all agree", "green")
        : paint(`${counted(failed, "group")} failed`, "red");
      print(`${counted(problems, "problem")} on ${gpu.adapter.description}: ${verdict}`);
    }
    return failed === 0 ? EXIT.fine : EXIT.failed;
  },
};

/** What the arguments ask for. */
interface Selection extends CheckSelection {
  readonly operators: readonly string[];
}

function parseSelection(args: Arguments): Selection {
  for (const name of args.positional) {
    if (OPERATORS.some((operator) => operator === name)) continue;
    throw new UsageError(
      `Cannot check "${name}": names must be among ${OPERATORS.join(", ")}, the nearest is "${
        nearest(name, OPERATORS)
      }"`,
    );
  }
  return {
    operators: args.positional.length > 0 ? args.positional : OPERATORS,
    quick: args.has("quick"),
    dtype: args.choice("dtype", ["f32", "f16"]),
    cases: args.integer("cases", DEFAULT_CASES),
    seed: args.integer("seed", 1),
  };
}

function chooseWork(selection: Selection, gpu: Gpu): CheckGroup[] {
  const { operators, quick, cases, seed } = selection;
  const schedules = checkedSchedules(gpu);
  const kinds = [...new Set(schedules.map((name) => name.split("-", 1)[0]))];
  const groups = attentionGroups(schedules, randomGroup(cases, seed))
    .filter((group) => group.quick || !quick)
    .map((group) => attentionWork(group, selection));
  return [
    ...PROPERTIES,
    mergeGroup(selection),
    ...groups,
    ...programmableGroups(kinds, selection),
    ...neighborhoodGroups(kinds, selection),
    ...statisticsGroups(gpu, selection),
    ...recurrenceGroups(gpu, selection),
    ...familyGroups(selection),
    ...fastWeightsGroups(selection),
    fullGroup(selection),
    ...scanGroups(selection),
    selectiveScanGroup(selection),
    logLinearGroup(selection),
    convGroup(selection),
    ropeGroup(selection),
    cacheGroup(selection),
    poolGroup(selection),
    ...selectGroups(selection),
  ].filter(({ operator, items }) => operators.includes(operator) && items.length > 0);
}

function attentionWork({ name, cases }: CaseGroup, selection: CheckSelection): CheckGroup {
  const items = caseItems(cases, selection, {
    nameOf: caseName,
    tolerance: TOLERANCE,
    errorOf: async (gpu, c) => (await checkCase(gpu, c)).ratio,
  });
  return { operator: "attention", group: name, items };
}

async function runAll(
  gpu: Gpu,
  works: readonly CheckGroup[],
  args: Arguments,
): Promise<GroupOutcome[]> {
  const progress = new Progress(works.reduce((sum, { items }) => sum + items.length, 0));
  const results: GroupOutcome[] = [];
  for (const { operator, group, items } of works) {
    const outcomes: Outcome[] = [];
    for (const item of items) {
      progress.step(`${operator} ${group}: ${item.name}`);
      outcomes.push(await item.run(gpu).catch((error) => failure(item.name, error)));
      if (args.has("bail") && !outcomes.at(-1)?.ok) break;
    }
    const ok = outcomes.every((outcome) => outcome.ok);
    results.push({ operator, group, ok, outcomes });
    progress.clear();
    if (!args.has("json")) printGroup(results[results.length - 1]);
    if (!ok && args.has("bail")) break;
  }
  return results;
}

function failure(name: string, error: unknown): Outcome {
  const message = error instanceof Error ? error.message : String(error);
  return { name, ratio: Infinity, tolerance: 0, ok: false, error: message };
}

/** `"1 problem"`, `"2 problems"`. */
function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function printGroup({ operator, group, ok, outcomes }: GroupOutcome): void {
  const worst = outcomes.reduce((a, b) => excess(b) > excess(a) ? b : a);
  const mark = ok ? paint("ok  ", "green") : paint("FAIL", "red");
  const count = counted(outcomes.length, "problem");
  const error = worst.ratio === 0 ? "exact" : `${figure(worst.ratio)} of ${worst.tolerance}`;
  print(`${mark} ${`${operator} ${group}`.padEnd(38)} ${count.padStart(12)}   worst ${error}`);
  for (const outcome of outcomes.filter((outcome) => !outcome.ok)) {
    print(`     ${outcome.name}: ${outcome.error ?? `error ratio ${figure(outcome.ratio)}`}`);
  }
}

/** The error as a share of the tolerance, which is 0 for what must be exact. */
function excess({ ratio, tolerance }: Outcome): number {
  return ratio === 0 ? 0 : ratio / tolerance;
}
