/**
 * The house rules as lint rules: who may import whom, how errors are worded,
 * and which globals the library leaves alone. CONTRIBUTING.md says why.
 *
 * @module
 */

/** What each layer may import, as prefixes of a path from the root or of a bare specifier. */
const LAYERS: Record<string, readonly string[]> = {
  "gpu": ["gpu/"],
  "kernels": ["kernels/", "gpu/program.ts", "gpu/nearest.ts"],
  "ops": ["ops/", "kernels/", "gpu/"],
  "reference": ["reference/"],
  "mod.ts": ["ops/", "gpu/"],
  "cli": [
    "cli/",
    "ops/",
    "kernels/",
    "gpu/",
    "reference/",
    "mod.ts",
    "@std/cli/",
    "@observablehq/plot",
    "fast-png",
    "linkedom",
    "npm:",
  ],
  "cli.ts": [
    "deno.json",
    "cli/",
    "ops/",
    "kernels/",
    "gpu/",
    "reference/",
    "mod.ts",
    "@std/cli/",
    "npm:",
  ],
};

/** The layers that run in browsers too. */
const LIBRARY: readonly string[] = ["gpu", "kernels", "ops", "reference", "mod.ts"];

const ROOT = new URL("../", import.meta.url).href;
const CONTRACTION = /\b(?:\w+n['’]t|(?:it|that|there|what|let|you|we|they)['’](?:s|re|ve|ll|d))\b/i;

/** The path of a URL from the root, or the URL itself where it lies outside. */
function fromRoot(url: URL): string {
  return url.href.startsWith(ROOT) ? url.href.slice(ROOT.length) : url.href;
}

function fileUrl(filename: string): URL {
  const path = filename.replaceAll("\\", "/");
  return new URL(path.replace(/^(?:[A-Za-z]:|\/)/, (start) => `file:///${start}`), ROOT);
}

function layerOf(filename: string): string {
  return fromRoot(fileUrl(filename)).split("/")[0] ?? "";
}

/** What is wrong with the wording of an error message, if anything. */
function wordingFault(start: string, end: string, text: string): string | undefined {
  if (start !== "" && !/^[\p{Lu}"'`]/u.test(start)) return "start with a capital letter or a quote";
  if (end.endsWith(".")) return "end without a period";
  if (CONTRACTION.test(text)) return "spell contractions out";
  return undefined;
}

/** The pieces of literal text in a message, with "" where a value stands. */
function literalParts(node: Deno.lint.Node): string[] {
  if (node.type === "Literal") return [String(node.value)];
  if (node.type === "TemplateLiteral") return node.quasis.map((quasi) => quasi.cooked);
  if (node.type === "BinaryExpression" && node.operator === "+") {
    return [...literalParts(node.left), ...literalParts(node.right)];
  }
  return [""];
}

const layers: Deno.lint.Rule = {
  create(context) {
    const layer = layerOf(context.filename);
    const allowed = LAYERS[layer];
    if (!allowed) return {};
    function check(source: Deno.lint.Node | null): void {
      if (source?.type !== "Literal" || typeof source.value !== "string") return;
      const specifier = source.value;
      const target = /^\.{0,2}\//.test(specifier)
        ? fromRoot(new URL(specifier, fileUrl(context.filename)))
        : specifier;
      if (allowed?.some((prefix) => target.startsWith(prefix))) return;
      context.report({
        node: source,
        message: `${layer} must not import ${target}`,
        hint: `${layer} may import ${allowed?.join(", ")}`,
      });
    }
    return {
      ImportDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
    };
  },
};

/** Errors that make their message from a label. */
const LABELLED: readonly string[] = ["DeviceError", "ShaderError"];

const errorMessage: Deno.lint.Rule = {
  create(context) {
    return {
      NewExpression(node): void {
        const message = node.arguments[0];
        if (!message || node.callee.type !== "Identifier") return;
        const { name } = node.callee;
        if (!name.endsWith("Error") || LABELLED.includes(name)) return;
        const parts = literalParts(message);
        const fault = wordingFault(parts[0] ?? "", parts.at(-1) ?? "", parts.join("\0"));
        if (fault) context.report({ node: message, message: `Error messages ${fault}` });
      },
    };
  },
};

/** A rule that keeps a global out of the library. */
function noGlobal(name: string): Deno.lint.Rule {
  return {
    create(context) {
      const layer = layerOf(context.filename);
      if (!LIBRARY.includes(layer)) return {};
      return {
        Identifier(node): void {
          if (node.name !== name) return;
          context.report({ node, message: `${layer} must not use the global ${name}` });
        },
      };
    },
  };
}

/** The plugin that deno.json names. */
const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "layers": layers,
    "error-message": errorMessage,
    "no-deno": noGlobal("Deno"),
    "no-console": noGlobal("console"),
  },
};

export default plugin;
