import { checkWritable, writeFile } from "../output.ts";
import { renderSvg } from "../pattern/svg.ts";
import type { ProfileRun } from "../profile/document.ts";
import { reasonOf } from "../reason.ts";
import type { Workload } from "../workload.ts";
import { pageOf } from "./page.ts";

/** A page that can be written. */
export interface Report {
  /** Writes the page of what was measured. */
  write(run: ProfileRun, workloads: readonly Workload[]): Promise<void>;
}

/**
 * Prepares to write a page.
 *
 * @throws TypeError if the file cannot be written or the plotting library cannot be had
 */
export async function openReport(path: string): Promise<Report> {
  const { rooflineChart, timesChart } = await loadCharts();
  await checkWritable(path);
  return {
    write: (run, workloads) => {
      const { profiles, ceilings, growth } = run;
      const page = pageOf(run, {
        roofline: rooflineChart(profiles, ceilings),
        ...(growth && { times: timesChart(profiles, growth) }),
        patterns: workloads.flatMap(({ operator, name, picture }) =>
          picture ? [{ caption: `${operator} ${name}`, svg: renderSvg(picture()) }] : []
        ),
      });
      return writeFile(path, new TextEncoder().encode(page));
    },
  };
}

/**
 * The charts, and with them the packages that draw: by a path that Deno cannot foresee, so that it
 * fetches them when a page is asked for and not when any command starts.
 */
async function loadCharts(): Promise<typeof import("./charts.ts")> {
  try {
    return await import(new URL("./charts.ts", import.meta.url).href);
  } catch (error) {
    const [reason] = reasonOf(error).split("\n");
    throw new TypeError(
      `Cannot write a page as the packages that draw plots must be fetched once: ${reason}`,
    );
  }
}
