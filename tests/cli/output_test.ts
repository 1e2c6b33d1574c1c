import { assertEquals } from "@std/assert";
import { figure, table } from "../../cli/output.ts";

/** Lines of text. */
function lines(...texts: string[]): string {
  return texts.join("\n");
}

Deno.test("table() aligns words left and numbers right under their heads", () => {
  const rows = [
    ["problem", "ms", "of ceiling", "unit"],
    ["B1 T64", "0.25", "5%", "ms"],
    ["B12 T1024 causal", "12.5", "31.2%", "s"],
  ];

  assertEquals(
    table(rows),
    lines(
      "problem             ms  of ceiling  unit",
      "B1 T64            0.25          5%  ms",
      "B12 T1024 causal  12.5       31.2%  s",
    ),
  );
});

Deno.test("table() takes signs, exponents, bounds and factors as numbers", () => {
  assertEquals(
    table([["n"], ["-1"], ["2.1e-7"], ["<1"], ["9.03x"], ["1,024"]]),
    lines("     n", "    -1", "2.1e-7", "    <1", " 9.03x", " 1,024"),
  );
});

Deno.test("table() leaves a column left where one cell is a word", () => {
  assertEquals(table([["limit"], ["128"], ["none"]]), lines("limit", "128", "none"));
});

Deno.test("table() fills short rows and ends no line with spaces", () => {
  assertEquals(
    table([["a", "b"], ["long word"], ["x", "y"]]),
    lines("a          b", "long word", "x          y"),
  );
});

Deno.test("table() returns nothing for no rows and one line for one", () => {
  assertEquals(table([]), "");
  assertEquals(table([["a", "b"]]), "a  b");
});

Deno.test("figure() shows three significant digits", () => {
  assertEquals(figure(3.14159), "3.14");
  assertEquals(figure(31.4159), "31.4");
  assertEquals(figure(314.159), "314");
  assertEquals(figure(0.0314159), "0.0314");
  assertEquals(figure(1), "1.00");
  assertEquals(figure(-2.5), "-2.50");
});

Deno.test("figure() keeps every digit before the point", () => {
  assertEquals(figure(123456.7), "123457");
  assertEquals(figure(1024), "1024");
});

Deno.test("figure() turns to exponents below 1e-4", () => {
  assertEquals(figure(0.0001234), "0.000123");
  assertEquals(figure(0.00001234), "1.2e-5");
  assertEquals(figure(2.03e-7), "2.0e-7");
});

Deno.test("figure() shows zero and what is no number", () => {
  assertEquals(figure(0), "0");
  assertEquals(figure(Infinity), "Infinity");
  assertEquals(figure(NaN), "NaN");
});
