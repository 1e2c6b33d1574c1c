import type { LeftOut, Profile } from "../cli/profile/document.ts";

/** What is compared of the document of `profile --all --json`. */
export interface ProfileSet {
  readonly adapter: string;
  readonly date: string;
  readonly ceilingGflops: number;
  readonly ceilingGbps: number;
  readonly profiles: readonly Pick<
    Profile,
    "operator" | "name" | "schedule" | "minMs" | "medianMs" | "fractionOfCeiling"
  >[];
  readonly leftOut: readonly LeftOut[];
}

/** How the time of a problem changed. */
export interface Change {
  readonly operator: string;
  readonly name: string;
  readonly oldMs: number;
  readonly newMs: number;
  /** New median over old one. */
  readonly ratio: number;
  /** The same of the minima: where it stays near 1, the median may have caught noise. */
  readonly minRatio: number;
  /** Shares of the ceilings in turn with it: where they stay, the machine has changed its pace. */
  readonly fractions: readonly [old: number, new: number];
  /** The schedules, where they differ. */
  readonly schedules?: readonly [old: string, new: string];
}

/** Changes between two sets of profiles, each list in the order of the old one. */
export interface Changes {
  readonly slower: readonly Change[];
  readonly faster: readonly Change[];
  readonly unchanged: readonly Change[];
  /** Problems of the old set alone. */
  readonly missing: readonly string[];
  /** Problems of the new set alone. */
  readonly added: readonly string[];
}

/** Compares two sets problem by problem; `threshold` 0.05 takes 5% as a change. */
export function changesOf(before: ProfileSet, after: ProfileSet, threshold: number): Changes {
  const old = byKey(before);
  const now = byKey(after);
  const changes = [...old].flatMap(([key, a]): Change[] => {
    const b = now.get(key);
    if (b === undefined) return [];
    return [{
      ...{ operator: a.operator, name: a.name, oldMs: a.medianMs, newMs: b.medianMs },
      ...{ ratio: b.medianMs / a.medianMs, minRatio: b.minMs / a.minMs },
      fractions: [a.fractionOfCeiling, b.fractionOfCeiling],
      ...(a.schedule !== b.schedule && { schedules: [a.schedule, b.schedule] as const }),
    }];
  });
  const slower = changes.filter(({ ratio }) => ratio > 1 + threshold);
  const faster = changes.filter(({ ratio }) => ratio < 1 / (1 + threshold));
  return {
    slower,
    faster,
    unchanged: changes.filter((change) => !slower.includes(change) && !faster.includes(change)),
    missing: [...old.keys()].filter((key) => !now.has(key)),
    added: [...now.keys()].filter((key) => !old.has(key)),
  };
}

function byKey({ profiles }: ProfileSet): Map<string, ProfileSet["profiles"][number]> {
  return new Map(profiles.map((profile) => [`${profile.operator} ${profile.name}`, profile]));
}
