export type {
  FastWeightsOptions,
  TitansMemoryOptions,
  TitansMemoryState,
  TitansMemoryStepOptions,
  TitansRates,
  TttLinearOptions,
  TttLinearState,
  TttLinearStepOptions,
} from "./options.ts";
export { titansMemory, type TitansMemoryResult, titansMemoryStep } from "./titans.ts";
export { tttLinear, type TttLinearResult, tttLinearStep } from "./ttt.ts";
