import type { AttentionCase } from "./attention_case.ts";
import { problemOf } from "./attention_problem.ts";
import { drawnHooks } from "./drawn_hooks.ts";
import { attentionPattern } from "./pattern/attention_pattern.ts";
import type { Picture } from "./pattern/picture.ts";
import { pictureStep } from "./workload.ts";

/** Most heads that a picture tells apart. */
const MAX_HEADS = 4;

/** Whether a case has a pattern: keys in a row, some of which some query does not see. */
export function isDrawn(c: AttentionCase): boolean {
  if (c.packed !== undefined || c.pages !== undefined || c.qLen === 1) return false;
  return c.mask !== undefined || c.window !== undefined || c.causal !== undefined;
}

/** Draws which keys the queries of a case see. */
export function attentionPicture(c: AttentionCase): Picture {
  const { qLen, kvLen, window, mask, heads } = c;
  return attentionPattern({
    ...{ qLen, kvLen, window, causal: c.causal !== undefined, band: problemOf(c).band },
    ...(mask !== undefined && { hooks: drawnHooks({ mask }) }),
    heads: /\bh\b/.test(mask ?? "") ? Math.min(heads, MAX_HEADS) : 1,
    step: pictureStep(Math.max(qLen, kvLen)),
  });
}
