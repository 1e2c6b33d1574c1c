import type { ReferenceTensor } from "../tensor.ts";
import { sigmoid, softplus } from "./activations.ts";
import type { RecurrenceOptions } from "./engine.ts";
import { dot, scaleBy } from "./matrices.ts";
import type { StateResult } from "./options.ts";
import { plain } from "./plain.ts";
import { mapTensor } from "./tensors.ts";

/** The engine, on queries and keys of length 1 where `qkL2norm` says so. */
export function deltaEngine(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: RecurrenceOptions & { qkL2norm?: boolean },
): StateResult {
  const [qs, ks] = options.qkL2norm ? [l2Normalized(q), l2Normalized(k)] : [q, k];
  return plain(qs, ks, v, options);
}

/** x / √(Σ x² + 1e-6) of each row: a row of zeros stays one. */
function l2Normalized(x: ReferenceTensor): ReferenceTensor {
  const dim = x.shape[x.shape.length - 1];
  const data = Float64Array.from(x.data);
  for (let start = 0; start < data.length; start += dim) {
    const row = data.subarray(start, start + dim);
    scaleBy(row, 1 / Math.sqrt(dot(row, row) + 1e-6));
  }
  return { data, shape: x.shape };
}

/**
 * The gates `[B, T, HV]` or `[B, T, HV, K]` of the raw ones: with `aLog` `[HV]` they are
 * -exp(aLog) softplus(g + dtBias), with `lowerBound` lowerBound sigmoid(exp(aLog) (g + dtBias)).
 */
export function decayGates(
  g: ReferenceTensor,
  { aLog, dtBias, lowerBound }: {
    aLog?: ReferenceTensor;
    dtBias?: ReferenceTensor;
    lowerBound?: number;
  },
): ReferenceTensor {
  if (!aLog) return g;
  const rowSize = g.shape.slice(2).reduce((product, axis) => product * axis, 1);
  const channels = rowSize / g.shape[2];
  return mapTensor(g, (raw, index) => {
    const place = index % rowSize;
    const rate = Math.exp(aLog.data[Math.floor(place / channels)]);
    const x = raw + (dtBias ? dtBias.data[place] : 0);
    return lowerBound === undefined ? -rate * softplus(x) : lowerBound * sigmoid(rate * x);
  });
}

/** The strengths of the raw ones: sigmoid, or twice that where eigenvalues may be negative. */
export function strengths(
  beta: ReferenceTensor,
  { betaSigmoid = false, allowNegativeEigenvalues = false }: {
    betaSigmoid?: boolean;
    allowNegativeEigenvalues?: boolean;
  },
): ReferenceTensor {
  if (!betaSigmoid) return beta;
  return mapTensor(beta, (x) => (allowNegativeEigenvalues ? 2 : 1) * sigmoid(x));
}
