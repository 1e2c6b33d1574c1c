import { classOf, dimWords } from "../tuning.ts";
import type { NeighborhoodAxis } from "./axes.ts";
import type { NeighborhoodProblem } from "./problem.ts";

/** What tuning knows a problem by: dtype, dims and pattern; not the lengths of the axes. */
export function neighborhoodClass({ axes, attention }: NeighborhoodProblem): string {
  const { elem, headDim, valueDim, additional } = attention;
  return classOf(
    ...["neighborhoodAttention", elem, dimWords("D", headDim, "Dv", valueDim)],
    `window ${sizes(axes, "windowSize")}`,
    axes.some(({ stride }) => stride > 1) && `stride ${sizes(axes, "stride")}`,
    axes.some(({ dilation }) => dilation > 1) && `dilation ${sizes(axes, "dilation")}`,
    axes.some(({ causal }) => causal) && `causal ${axes.map(({ causal }) => causal)}`,
    additional !== null && "additional",
  );
}

function sizes(
  axes: readonly NeighborhoodAxis[],
  name: "windowSize" | "stride" | "dilation",
): string {
  return axes.map((axis) => axis[name]).join("x");
}
