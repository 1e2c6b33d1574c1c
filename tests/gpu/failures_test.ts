import { assertRejects } from "@std/assert";
import { DeviceError } from "../../mod.ts";
import { Failures } from "../../gpu/failures.ts";

Deno.test("settled() leaves what is kept while it waits to the next wait", async () => {
  const failures = new Failures();
  const early = Promise.withResolvers<null>();
  failures.keep(early.promise);
  const first = failures.settled();
  failures.keep(Promise.resolve(new DeviceError("rope", "late")));
  early.resolve(null);

  await first;
  await assertRejects(() => failures.settled(), DeviceError, "late");
  await failures.settled();
});
