import { Arguments } from "./command.ts";
import { profiledOperator } from "./profiled.ts";
import type { Workload } from "./workload.ts";

/** A problem of the built-in set, as the command line describes it. */
export interface BuiltinProblem {
  /** A name that `profile` knows. */
  readonly operator: string;
  /** Flags and their values. */
  readonly flags: readonly string[];
}

/** The problems that `tune` and `profile --all` take where none is named: each a fraction of a second. */
export const BUILTIN_SET: readonly BuiltinProblem[] = [
  problem("attention --heads 4 --q-len 1024"),
  problem("attention --heads 4 --q-len 1024 --causal"),
  problem("attention --heads 4 --q-len 2048 --causal --window 127,"),
  problem("attention --heads 4 --q-len 512 --head-dim 128"),
  problem("attention --heads 8 --kv-heads 2 --q-len 1 --kv-len 8192 --head-dim 128"),
  problem("attention --heads 4 --q-len 1024 --dtype f16"),
  problem("neighborhoodAttention --heads 4 --layout 4096 --window-size 256"),
  problem("neighborhoodAttention --heads 4 --layout 64x64 --window-size 13"),
  problem("neighborhoodAttention --heads 4 --layout 64x64 --window-size 16 --stride 16"),
  problem("neighborhoodAttention --heads 4 --layout 8x16x16 --window-size 3x7x7"),
  problem("simpleGla --length 2048"),
  problem("gla --length 2048"),
  problem("gatedDeltaRule --length 2048"),
  problem("kda --length 2048"),
  problem("gla --heads 32 --length 1 --state"),
  problem("selectiveScan --length 2048 --layer"),
  problem("hgrn --length 4096 --channels 1024"),
  problem("causalConv1d --length 4096 --channels 1024"),
];

/** The problems of the built-in set. */
export function builtinWorkloads(): Workload[] {
  return BUILTIN_SET.flatMap(({ operator, flags }) => {
    const profiled = profiledOperator(operator);
    return profiled.workloads(new Arguments(flags, profiled.flags)).workloads;
  });
}

function problem(line: string): BuiltinProblem {
  const [operator, ...flags] = line.split(" ");
  return { operator, flags };
}
