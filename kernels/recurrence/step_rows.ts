import type { RecurrenceConfig } from "./config.ts";

/** What a row of the state has of a token: its key and queries, and what erases it or lets it decay. */
export type RowName = "key" | "decay" | "eraser" | "erased" | "bonus" | "query";

/** Text about each; about that of query r, where it is "query". */
export type RowTexts = Readonly<Record<RowName, string>>;

/** What tells which of them there are. */
export type RowConfig = Pick<RecurrenceConfig, "gate" | "inputs" | "erase" | "normalize">;

/** Whether rows decay differently. */
export function hasRowDecays({ gate }: Pick<RowConfig, "gate">): boolean {
  return gate === "channel" || gate === "forget";
}

/** What w = p S is computed from: nothing, where nothing is erased. */
export function erasingRows(config: RowConfig): RowName[] {
  if (config.erase === "none") return [];
  return config.erase === "late" && hasRowDecays(config)
    ? [eraserOf(config), "decay"]
    : [eraserOf(config)];
}

/** What the new state and the outputs are computed from. */
export function writingRows(config: RowConfig): RowName[] {
  const optional: readonly [RowName, boolean][] = [
    ["decay", hasRowDecays(config)],
    ["erased", config.erase === "pair"],
    ["bonus", config.inputs.u !== undefined],
  ];
  return ["key", ...optional.flatMap(([name, there]) => there ? [name] : []), "query"];
}

/** The decay of row d, which may be that of all rows. */
export function decayOf(config: RowConfig, row: RowTexts): string {
  return hasRowDecays(config) ? row.decay : "kept";
}

/** What reads the rows to erase: the key, where there is nothing else. */
export function eraserOf({ inputs }: RowConfig): "key" | "eraser" {
  return inputs.p || inputs.eraseGate ? "eraser" : "key";
}

const VALUES: RowTexts = {
  key: "key_at(t, head, d, step)",
  decay: "decay_at(t, head, d, step)",
  eraser: "erase_at(t, head, d, step)",
  erased: "erased_at(t, head, d)",
  bonus: "bonus_at(head, d)",
  query: "query_norms[r] * query_at(t, head * GROUP + r, d)",
};

/** Computes what row d has. */
export function ownRow(names: readonly RowName[], own: RowTexts): string {
  return names.map((name) => {
    const line = `${own[name]} = ${VALUES[name]};`;
    return name === "query" ? `@unroll for (var r = 0u; r < GROUP; r++) { ${line} }` : line;
  }).join("\n        ");
}

/** Adds the key of row d to the running sum, and what the queries read from that to `norms`. */
export function ownSum(config: RowConfig, own: RowTexts): string {
  const read = config.inputs.u ? `old_sum + ${own.bonus} * ${own.key}` : "new_sum";
  return /* wgsl */ `
        let old_sum = get_sums(state_row * KEYS + d);
        let new_sum = ${decayOf(config, own)} * old_sum + ${own.key};
        if tile.x == 0u { put_new_sums(state_row * KEYS + d, new_sum); }
        @unroll for (var r = 0u; r < GROUP; r++) { norms[r] += ${own.query} * (${read}); }`;
}
