import { selectTree, type SelectTreeOptions } from "../ops/tree/mod.ts";
import * as reference from "../reference/mod.ts";
import { exact } from "./exact.ts";
import { hostTensor } from "./host_tensor.ts";
import type { CheckGroup, CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface TreeCase {
  readonly batch: number;
  readonly qLen: number;
  readonly kvLen: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly options: SelectTreeOptions;
}

const SMALL = { queryBlock: 16, keyBlock: 8 };

/** Trees of one level and of several, ragged at each end, rows that are whole vec4s and not. */
const FORMS: readonly Partial<TreeCase>[] = [
  {},
  { options: { ...SMALL, keep: 3, causal: true } },
  { options: { ...SMALL, keep: 6, causal: true, sinks: 1, window: 1, representative: "mean" } },
  { qLen: 200, options: { ...SMALL, keep: 2, causal: true, branches: 3, representative: "max" } },
  { qLen: 1, kvLen: 3000, options: { keyBlock: 8, keep: 5, branches: 4, representative: "min" } },
  { dim: 6, options: { ...SMALL, keep: 40, causal: "top-left", representative: "last" } },
  { qLen: 300, kvLen: 700, dim: 64, options: { keyBlock: 2, keep: 80, sinks: 3, window: 2 } },
];

/** Descents of trees against the oracle, exactly: integers, whose products are exact in f32. */
export function treeGroup({ dtype, quick }: CheckSelection): CheckGroup {
  const cases = FORMS.slice(0, quick ? 3 : FORMS.length).map(caseOf);
  const items = (["f32", "f16"] as const).filter((one) => dtype === undefined || one === dtype)
    .flatMap((one) =>
      cases.map((c) =>
        exact(`${nameOf(c)} ${one}`, (upload) => {
          const { batch, qLen, kvLen, kvHeads, dim, options } = c;
          const random = new Random(qLen + kvLen);
          const [q, k] = [[qLen, 4], [kvLen, kvHeads]].map(([length, heads]) =>
            hostTensor(one, [batch, length, heads, dim], () => random.integer(-3, 3))
          );
          const { indices, counts } = selectTree(upload(q), upload(k), options);
          const expected = reference.selectTree(q, k, options);
          return [[indices, expected.indices], [counts, expected.counts]];
        })
      )
    );
  return { operator: "selectTree", group: "descent", items };
}

function caseOf(part: Partial<TreeCase>): TreeCase {
  const sizes = { batch: 2, qLen: 77, kvLen: 131, kvHeads: 2, dim: 20 };
  return { ...sizes, options: { ...SMALL, keep: 2 }, ...part };
}

function nameOf({ qLen, kvLen, dim, options }: TreeCase): string {
  const told = Object.entries(options).map(([name, value]) => `${name} ${value}`);
  return `T${qLen} S${kvLen} D${dim} ${told.join(" ")}`;
}
