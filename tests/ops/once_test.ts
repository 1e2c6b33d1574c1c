import { assertEquals, assertThrows } from "@std/assert";
import { once } from "../../ops/once.ts";

Deno.test("once() makes a value once for each configuration", () => {
  let made = 0;
  const make = once((_config: object) => made++);
  const configs = [{}, { a: 1 }, { a: "1" }, { a: null }, { a: Infinity }, { a: NaN }, { a: [1] }];

  assertEquals(configs.map(make), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(configs.map(make), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(make({ a: 1 }), 1);
});

Deno.test("once() forgets the oldest of many configurations", () => {
  let made = 0;
  const make = once((_config: object) => made++);
  for (let n = 0; n <= 256; n++) make({ n });

  assertEquals(make({ n: 256 }), 256);
  assertEquals(make({ n: 0 }), 257);
});

Deno.test("once() throws for a configuration that is not plain", () => {
  const make = once((config: object) => config);

  assertThrows(
    () => make({ f: () => 1 }),
    TypeError,
    "Cannot remember a configuration as it must be plain",
  );
});
