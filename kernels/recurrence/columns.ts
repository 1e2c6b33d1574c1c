import { eachOwn, type Owned, ownType } from "../shared/own.ts";

/** What a walk over tokens does to the value channels that an invocation owns, as WGSL. */
export function columnCode({ own }: Owned): string {
  const channels = [0, 1, 2, 3].slice(0, own);
  const unit = channels.map((y) => `f32(e + ${y}u == i)`).join(", ");
  const products = channels.map((y) =>
    `if e + ${y}u < VALUES { put_products(row * VALUES + e + ${y}u, ${
      own === 1 ? "x" : `x[${y}]`
    }); }`
  );
  return /* wgsl */ `
${ownType({ own })}

/// Row i of the unit matrix, from channel e on.
fn unit(e: u32, i: u32) -> Own { return Own(${unit}); }

/// The weights of the input in the output.
fn skip_of(head: u32, col: u32) -> Own {
  return load_skip_rows(row_skip_rows(0u, head), col) + element_skip(row_skip(0u, head), 0u);
}

fn silu(x: Own) -> Own { return x * ${eachOwn({ own }, (x) => `sigmoid(${x})`)}; }

fn value_decays_of(g: Own) -> Own { return exp2(LOG2E * max(g, Own(LEAST_GATE))); }

/// A row of the state behind a token's decay.
fn kept(s: Own, e: f32, value_decay: Own) -> Own {
  var x = s;
  if GATED { x *= e; }
  if VALUE_GATE { x *= value_decay; }
  return x;
}

fn keep_products(row: u32, e: u32, x: Own) {
  ${products.join("\n  ")}
}`;
}
