import type { PoolKind } from "./config.ts";

/**
 * How tokens are pooled: what an invocation starts with, how it takes a token, how two invocations
 * combine and what the block becomes.
 */
export const POOL_FOLDS: Readonly<Record<PoolKind, string>> = {
  mean: simple("vec4f()", "a + x", "a / f32(count)"),
  // the first token may be taken several times
  max: simple("load_x(first, c)", "max(a, x)", "a"),
  min: simple("load_x(first, c)", "min(a, x)", "a"),
  first: simple("load_x(first, c)", "a", "a"),
  last: simple("load_x(last, c)", "a", "a"),
  attention: /* wgsl */ `
struct Pooled { m: f32, sum: f32, x: vec4f } // largest logit, sum of e^(logit - m), and with x
const LOWEST = -3.4e38;

fn start(first: u32, last: u32, c: u32) -> Pooled { return Pooled(LOWEST, 0.0, vec4f()); }

fn combine(a: Pooled, b: Pooled) -> Pooled {
  let m = max(a.m, b.m);
  let p = exp(a.m - m);
  let q = exp(b.m - m);
  return Pooled(m, p * a.sum + q * b.sum, p * a.x + q * b.x);
}

fn take(a: Pooled, row: u32, c: u32) -> Pooled {
  let logit = element_weights(row, 0u);
  if logit < LOWEST { return a; } // -Infinity: x may be anything
  return combine(a, Pooled(logit, 1.0, load_x(row, c)));
}

fn finish(a: Pooled, count: u32) -> vec4f {
  if a.sum == 0.0 { return vec4f(); }
  return a.x / a.sum;
}`,
};

/** A fold whose only state is a vector. */
function simple(start: string, fold: string, finish: string): string {
  return /* wgsl */ `
alias Pooled = vec4f;
fn start(first: u32, last: u32, c: u32) -> Pooled { return ${start}; }
fn combine(a: Pooled, x: Pooled) -> Pooled { return ${fold}; }
fn take(a: Pooled, row: u32, c: u32) -> Pooled { return combine(a, load_x(row, c)); }
fn finish(a: Pooled, count: u32) -> vec4f { return ${finish}; }`;
}
