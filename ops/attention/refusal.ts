/** What messages say attention cannot do. */
export const ACTION = "compute attention";

/** Refuses an argument that is of the wrong kind. */
export function fail(reason: string): never {
  throw new TypeError(`Cannot ${ACTION} as ${reason}`);
}
