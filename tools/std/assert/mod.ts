// Stands in for jsr:@std/assert where only the npm registry answers.
// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
