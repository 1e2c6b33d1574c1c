import { checkFamily, type FamilyCase, familyCaseName } from "./family_case.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { RECURRENCE_TOLERANCE } from "./recurrence_case.ts";

/** The cases of each family by group, against the oracles of the same names. */
export function groupsOfFamilies(
  families: readonly string[],
  casesOf: (family: string) => Readonly<Record<string, readonly FamilyCase[]>>,
  selection: CheckSelection,
): CheckGroup[] {
  return families.flatMap((operator) =>
    Object.entries(casesOf(operator)).map(([group, cases]) => ({
      ...{ operator, group },
      items: caseItems(cases, selection, {
        nameOf: familyCaseName,
        tolerance: RECURRENCE_TOLERANCE,
        errorOf: checkFamily,
      }),
    }))
  );
}
