// The operators of onnxruntime that compute the problems, heads side by side: [B, T, H * D].
import type { HostTensor } from "../../cli/host_tensor.ts";
import type { OnnxAttribute, OnnxNode } from "./onnx_model.ts";
import type { AttentionProblem, DeltaProblem, Inputs, Problem } from "./problems.ts";

/** An operator on a problem. */
export interface OnnxOperator {
  readonly node: OnnxNode;
  /** The inputs by the operator's names. */
  feeds(inputs: Inputs): Readonly<Record<string, HostTensor>>;
}

/** The operator that computes a problem: GroupQueryAttention where MultiHeadAttention cannot. */
export function onnxOperator(problem: Problem): OnnxOperator {
  if (problem.operator === "gatedDeltaRule") return linear(problem);
  const { window, heads, kvHeads } = problem.case;
  return window || heads !== kvHeads ? groupQuery(problem) : multiHead(problem);
}

function multiHead({ case: { causal, heads } }: AttentionProblem): OnnxOperator {
  return {
    node: {
      ...{ operator: "MultiHeadAttention", inputs: ["query", "key", "value"], outputs: ["output"] },
      attributes: [["num_heads", "int", heads], ["unidirectional", "int", causal ? 1 : 0]],
    },
    feeds: packedHeads,
  };
}

/** Always causal. */
function groupQuery(problem: AttentionProblem): OnnxOperator {
  const { batch, kvLen, heads, kvHeads, window } = problem.case;
  const windowed: readonly OnnxAttribute[] = window
    ? [["local_window_size", "int", (window.left ?? kvLen) + 1]] // the query's own key counts
    : [];
  return {
    node: {
      operator: "GroupQueryAttention",
      // no past_key, no past_value
      inputs: ["query", "key", "value", "", "", "seqlens_k", "total_sequence_length"],
      outputs: ["output", "present_key", "present_value"],
      attributes: [["num_heads", "int", heads], ["kv_num_heads", "int", kvHeads], ...windowed],
      constants: {
        seqlens_k: { data: new Array(batch).fill(kvLen - 1), shape: [batch] },
        total_sequence_length: { data: [kvLen], shape: [1] },
      },
    },
    feeds: packedHeads,
  };
}

function linear({ case: { heads, keyDim } }: DeltaProblem): OnnxOperator {
  return {
    node: {
      operator: "LinearAttention",
      inputs: ["query", "key", "value", "", "decay", "beta"], // no past_state
      outputs: ["output", "state"],
      attributes: [
        ["update_rule", "text", "gated_delta"],
        ["q_num_heads", "int", heads],
        ["kv_num_heads", "int", heads],
        ["scale", "float", keyDim ** -0.5],
      ],
    },
    feeds: (inputs) => {
      const { g, beta } = inputs;
      return { ...packedHeads(inputs), decay: packed(g), beta: packed(beta) };
    },
  };
}

function packedHeads({ q, k, v }: Inputs): Readonly<Record<string, HostTensor>> {
  return { query: packed(q), key: packed(k), value: packed(v) };
}

function packed({ data, shape: [batch, length] }: HostTensor): HostTensor {
  return { data, shape: [batch, length, data.length / (batch * length)] };
}
