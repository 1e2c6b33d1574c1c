import type { WeightTexts } from "./weights.ts";

/** Four rows of s into weights, transposed. */
const STORE_WEIGHTS = /* wgsl */ `
      @unroll for (var c = 0u; c < COLS / 4; c++) {
        @unroll for (var x = 0u; x < 4; x++) {
          weights[(4u * (c * TX + tx) + x) * Q4 + ty * (ROWS / 4u) + r / 4u] =
            vec4f(s[r][c][x], s[r + 1][c][x], s[r + 2][c][x], s[r + 3][c][x]);
        }
      }`.trim();

/** How the workgroup schedule turns its tile of scores into weights, in registers and in `weights`. */
export const WORKGROUP_WEIGHTS: WeightTexts = {
  softmax: /* wgsl */ `
    // row maxima over the TX threads that share a row
    @unroll for (var r = 0u; r < ROWS; r += 4u) {
      @registers var top: array<vec4f, 4>;
      @unroll for (var i = 0u; i < 4; i++) {
        top[i] = s[r + i][0];
        @unroll for (var c = 1u; c < COLS / 4; c++) { top[i] = max(top[i], s[r + i][c]); }
      }
      let upper = max(vec4f(top[0].x, top[1].x, top[2].x, top[3].x),
        vec4f(top[0].y, top[1].y, top[2].y, top[3].y));
      let lower = max(vec4f(top[0].z, top[1].z, top[2].z, top[3].z),
        vec4f(top[0].w, top[1].w, top[2].w, top[3].w));
      maxima[tx * Q4 + ty * (ROWS / 4u) + r / 4u] = max(upper, lower);
    }
    workgroupBarrier();

    // p_ij = exp(s_ij - m_i); alpha rescales what is summed so far
    @unroll for (var r = 0u; r < ROWS; r += 4u) {
      var m_new = vec4f(m[r], m[r + 1], m[r + 2], m[r + 3]);
      for (var i = 0u; i < TX; i++) { m_new = max(m_new, maxima[i * Q4 + ty * (ROWS / 4u) + r / 4u]); }
      @unroll for (var i = 0u; i < 4; i++) {
        let alpha = exp2(m[r + i] - m_new[i]);
        m[r + i] = m_new[i];
        l[r + i] *= alpha;
        @unroll for (var n = 0u; n < VCOLS; n++) { acc[r + i][n] *= alpha; }
        @unroll for (var c = 0u; c < COLS / 4; c++) {
          s[r + i][c] = exp2(s[r + i][c] - m_new[i]);
          l[r + i] += dot(s[r + i][c], vec4f(1.0));
        }
      }
      ${STORE_WEIGHTS}
    }`,
  direct: /* wgsl */ `
    // p_ij = w(s_ij)
    @unroll for (var r = 0u; r < ROWS; r += 4u) {
      @unroll for (var i = 0u; i < 4; i++) {
        @unroll for (var c = 0u; c < COLS / 4; c++) {
          @unroll for (var x = 0u; x < 4; x++) { s[r + i][c][x] = weight(s[r + i][c][x]); }
          l[r + i] += dot(s[r + i][c], vec4f(1.0));
        }
      }
      ${STORE_WEIGHTS}
    }`,
  stick: /* wgsl */ `
    // p_ij of what later keys have left of the stick: one thread walks the keys of its rows
    @unroll for (var r = 0u; r < ROWS; r += 4u) {
      ${STORE_WEIGHTS}
    }
    workgroupBarrier();
    for (var n = select(BLOCK_KV, 0u, tx == 0u); n < BLOCK_KV; n++) {
      let p_at = (BLOCK_KV - 1u - n) * Q4 + ty * (ROWS / 4u);
      @unroll for (var r = 0u; r < ROWS; r += 4u) {
        let x = weights[p_at + r / 4u];
        var pieces = vec4f();
        @unroll for (var i = 0u; i < 4; i++) {
          let piece = broken(x[i], l[r + i]);
          pieces[i] = piece.x;
          l[r + i] = piece.y;
        }
        weights[p_at + r / 4u] = pieces;
      }
    }`,
};
