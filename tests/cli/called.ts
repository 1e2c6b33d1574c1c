import { main } from "../../cli.ts";

/** What a command printed, and its exit code. */
export interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process. */
export async function called(...args: readonly string[]): Promise<Called> {
  const { log, error } = console;
  const printed = { log: "", error: "" };
  console.log = (text: string) => printed.log += `${text}\n`;
  console.error = (text: string) => printed.error += `${text}\n`;
  try {
    const code = await main(args);
    return { code, stdout: printed.log, stderr: printed.error };
  } finally {
    Object.assign(console, { log, error });
  }
}
