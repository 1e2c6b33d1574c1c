/** Why something failed: the message of what was thrown; or that a file, or what was to hold it, is missing. */
export function reasonOf(error: unknown, missing: "file" | "folder" = "file"): string {
  if (error instanceof Deno.errors.NotFound) return `there is no such ${missing}`;
  return error instanceof Error ? error.message : String(error);
}
