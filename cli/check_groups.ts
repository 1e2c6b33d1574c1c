import type { Gpu } from "../gpu/device.ts";
import { caseName, checkCase } from "./attention_case.ts";
import { checkedSchedules } from "./attention_flags.ts";
import { cacheGroup } from "./cache_cases.ts";
import { attentionGroups, type CaseGroup, randomGroup } from "./cases.ts";
import { convGroup } from "./conv_cases.ts";
import { FAMILIES, FAST_WEIGHTS } from "./families.ts";
import { familyGroups } from "./family_cases.ts";
import { fastWeightsGroups } from "./fast_weights_cases.ts";
import { fullGroup } from "./full_cases.ts";
import { TOLERANCE } from "./host_tensor.ts";
import { logLinearGroup } from "./log_linear_cases.ts";
import { mergeGroup } from "./merge_cases.ts";
import { neighborhoodGroups } from "./neighborhood_cases.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { poolGroup } from "./pool_cases.ts";
import { programmableGroups } from "./programmable_cases.ts";
import { PROPERTIES } from "./properties.ts";
import { recurrenceGroups } from "./recurrence_cases.ts";
import { ropeGroup } from "./rope_cases.ts";
import { scanGroups } from "./scan_cases.ts";
import { selectGroups } from "./select_cases.ts";
import { selectiveScanGroup } from "./selective_scan_cases.ts";
import { statisticsGroups } from "./statistics_cases.ts";
import { treeGroup } from "./tree_cases.ts";

/** What `check` can be asked for by name. */
export const OPERATORS: readonly string[] = [
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
  ...["selectTree", "assignCentroids", "hashTokens"],
  "platform",
];

/** What the arguments of `check` ask for. */
export interface Selection extends CheckSelection {
  readonly operators: readonly string[];
}

/** What a selection comes to on a device, in order: the same on each device of an adapter. */
export function chooseGroups(selection: Selection, gpu: Gpu): CheckGroup[] {
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
    treeGroup(selection),
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
