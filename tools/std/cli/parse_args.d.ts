// The part of `@std/cli/parse-args` that the CLI uses; never wider than the real types.

export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends S = never,
>(
  args: string[],
  options: {
    boolean?: readonly B[];
    string?: readonly S[];
    collect?: readonly C[];
    alias?: Readonly<Partial<Record<B | S, string>>>;
    stopEarly?: boolean;
    unknown?: (arg: string, key?: string, value?: unknown) => unknown;
  },
):
  & { [K in B]: boolean }
  & { [K in Exclude<S, C>]?: string | undefined }
  & { [K in C]: string[] }
  & { _: (string | number)[] };
