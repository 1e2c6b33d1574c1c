import type { TunedChoice } from "../../gpu/tuning.ts";
import type { Workload } from "../workload.ts";
import type { Demand } from "./demand.ts";

/** One way to compute a problem, as `tune` measures it. */
export interface Candidate {
  /** Its schedule, and how tokens are walked where that is part of it. */
  readonly name: string;
  /** What a tuning says where it wins; null where a tuning may not choose it. */
  readonly choice: TunedChoice | null;
  /** What it asks of a device. */
  readonly demand: Demand;
  /** The same schedule with tokens in chunks, which is worth a try where it is the best. */
  readonly variants?: readonly Candidate[];
  /** The problem, computed this way. */
  workload(): Workload;
}

/** What a tuner chooses between. */
export interface Choices {
  /** What a tuning knows the problem by; null where there is nothing to choose. */
  readonly problemClass: string | null;
  /** Those that fit, the default first. */
  readonly candidates: readonly Candidate[];
}
