import type { NeighborhoodAxis } from "../../ops/neighborhood/axes.ts";

/** A line that states a neighborhood, such as `1-D, 64 tokens, window 13, stride 4`. */
export function neighborhoodTitle(axes: readonly NeighborhoodAxis[]): string {
  const sizes = (name: "length" | "windowSize" | "stride" | "dilation") =>
    axes.map((axis) => axis[name]).join(" × ");
  return [
    `${axes.length}-D`,
    `${sizes("length")} tokens`,
    `window ${sizes("windowSize")}`,
    ...(axes.some(({ stride }) => stride > 1) ? [`stride ${sizes("stride")}`] : []),
    ...(axes.some(({ dilation }) => dilation > 1) ? [`dilation ${sizes("dilation")}`] : []),
    ...causalWords(axes),
  ].join(", ");
}

function causalWords(axes: readonly NeighborhoodAxis[]): string[] {
  if (axes.every(({ causal }) => causal)) return ["causal"];
  const causal = axes.flatMap(({ causal }, axis) => causal ? [`axis ${axis}`] : []);
  return causal.length > 0 ? [`causal on ${causal.join(" and ")}`] : [];
}
