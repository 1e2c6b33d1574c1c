import { assertEquals } from "@std/assert";
import { flattened, nested } from "../../cli/records.ts";

const [a, b, c] = [1, 2, 3].map((size) => ({ shape: [size] }));

Deno.test("flattened() names the tensors of a record with a dot", () => {
  assertEquals(flattened({ out: a, finalState: { s: b, z: c } }), {
    out: a,
    "finalState.s": b,
    "finalState.z": c,
  });
});

Deno.test("nested() makes a record of names with a dot", () => {
  assertEquals(nested({ g: a, "initialState.s": b, "initialState.z": c }), {
    g: a,
    initialState: { s: b, z: c },
  });
});
