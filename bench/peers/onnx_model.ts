// Models of one operator, encoded as ONNX stores them.
import { requirePackage } from "./packages.ts";

/** A node of the domain `com.microsoft` with f32 inputs and one output that is asked for. */
export interface OnnxNode {
  readonly operator: string;
  /** Names of the inputs in order, "" for one that is left out. */
  readonly inputs: readonly string[];
  /** Names of all outputs in order; the first is the model's. */
  readonly outputs: readonly string[];
  readonly attributes: readonly OnnxAttribute[];
  /** The inputs that are int32 constants. */
  readonly constants?: Readonly<Record<string, OnnxConstant>>;
}

/** An attribute of a node. */
export type OnnxAttribute = readonly [name: string, type: "float" | "int" | "text", value: unknown];

/** An int32 tensor. */
export interface OnnxConstant {
  readonly data: readonly number[];
  readonly shape: readonly number[];
}

/** AttributeProto.AttributeType, and the field that holds the value. */
const ATTRIBUTES = { float: [1, "f"], int: [2, "i"], text: [3, "s"] } as const;
/** TensorProto.DataType. */
const [F32, I32] = [1, 6];
const DOMAIN = "com.microsoft";

/** Encodes a model of one node. */
export function onnxModel(node: OnnxNode): Uint8Array {
  const { onnx } = requirePackage("onnx-proto");
  const { operator, inputs, outputs, attributes, constants = {} } = node;
  const tensor = (name: string): object => ({ name, type: { tensorType: { elemType: F32 } } });
  const model = {
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }, { domain: DOMAIN, version: 1 }],
    graph: {
      name: operator,
      node: [{
        ...{ opType: operator, domain: DOMAIN, input: inputs, output: outputs },
        attribute: attributes.map(encodeAttribute),
      }],
      initializer: Object.entries(constants).map(([name, { data, shape }]) => (
        { name, dataType: I32, dims: shape, int32Data: data }
      )),
      input: inputs.filter((name) => name !== "" && !Object.hasOwn(constants, name)).map(tensor),
      output: [tensor(outputs[0])],
    },
  };
  return onnx.ModelProto.encode(onnx.ModelProto.create(model)).finish();
}

function encodeAttribute([name, kind, value]: OnnxAttribute): object {
  const [type, field] = ATTRIBUTES[kind];
  return { name, type, [field]: kind === "text" ? new TextEncoder().encode(`${value}`) : value };
}
