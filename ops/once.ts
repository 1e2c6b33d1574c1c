/** Calls a pure function once per configuration: generating a kernel's text costs more than a look-up. */
export function once<C extends object, R>(make: (config: C) => R): (config: C) => R {
  const made = new Map<string, R>();
  return (config) => {
    const key = JSON.stringify(config);
    const found = made.get(key);
    if (found !== undefined) return found;
    const value = make(config);
    made.set(key, value);
    return value;
  };
}
