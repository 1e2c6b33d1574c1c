import type { Runner } from "./check_runners.ts";
import type { Outcome } from "./outcome.ts";

/**
 * Spreads groups over runners and reports their outcomes in order.
 *
 * @param groups how many there are
 * @param runners take the next group each as soon as they are free
 * @param bail whether nothing behind the first failure is reported
 * @param report receives the outcomes of each group
 */
export function spread(
  groups: number,
  runners: readonly Runner[],
  { bail, report }: {
    readonly bail: boolean;
    report(index: number, outcomes: readonly Outcome[]): void;
  },
): Promise<void> {
  const finished = new Map<number, readonly Outcome[]>();
  let [next, reported, end] = [0, 0, groups];
  const reportAll = (): void => {
    for (; reported < end; reported++) {
      const outcomes = finished.get(reported);
      if (outcomes === undefined) return;
      report(reported, outcomes);
    }
  };
  return new Promise((done, failed) => {
    const work = async (runner: Runner): Promise<void> => {
      while (next < end) {
        const index = next++;
        const outcomes = await runner.run(index);
        finished.set(index, outcomes);
        if (bail && outcomes.some(({ ok }) => !ok)) end = Math.min(end, index + 1);
        reportAll();
      }
      // others may still run groups behind the end
      if (reported >= end) done();
    };
    for (const runner of runners) work(runner).catch(failed);
  });
}
