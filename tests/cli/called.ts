import { main } from "../../cli.ts";

/** What a command printed, and its exit code. */
export interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process. */
export function called(...args: readonly string[]): Promise<Called> {
  return printed(() => main(args));
}

/** Runs what prints and returns an exit code. */
export async function printed(run: () => Promise<number>): Promise<Called> {
  const { log, error } = console;
  const texts = { log: "", error: "" };
  console.log = (text: string) => texts.log += `${text}\n`;
  console.error = (text: string) => texts.error += `${text}\n`;
  try {
    const code = await run();
    return { code, stdout: texts.log, stderr: texts.error };
  } finally {
    Object.assign(console, { log, error });
  }
}
