/** Values of the names that a constant expression may use. */
export type Constants = Readonly<Record<string, number | boolean>>;

interface Source {
  text: string;
  /** Line of the kernel's text on which this piece begins. */
  line: number;
}

interface Loop {
  name: string;
  start: string;
  end: string;
  step: string;
  body: Source;
  /** Offset just behind the closing brace. */
  next: number;
}

const LOOP =
  /^@unroll\s+for\s*\(\s*var\s+(\w+)\s*=\s*([^;]+);\s*(\w+)\s*<\s*([^;]+);\s*(\w+)\s*(?:(\+\+)|\+=\s*([^){]+))\s*\)\s*\{/;
const REGISTERS = /@registers\s+var\s+(\w+)\s*:\s*([^;]+);/g;
const ARRAY = /^array<(.+),\s*([^,<>]+)>$/;

/**
 * Expands the loops and arrays of a kernel that must be text by the time a driver sees them.
 *
 * - `@unroll for (var i = 0u; i < N; i++) { … }` repeats its body with `i` replaced by a literal;
 *   loops nest, the step may be `i += 2u`, and bounds are constant expressions.
 * - `@registers var acc: array<array<vec4f, COLS>, ROWS>;` declares one zeroed variable per
 *   element; every `acc[r][c]` must then have constant indices and becomes `acc_0_1`.
 *
 * Loops over register arrays run 20 to 30 times slower than this text on software drivers, and
 * scalars compile several times faster than arrays (docs/performance.md).
 *
 * @param code WGSL with the two marks
 * @param constants values of the names in bounds and indices
 * @returns plain WGSL
 * @throws SyntaxError naming the line when a mark cannot be expanded
 */
export function unroll(code: string, constants: Constants): string {
  return scalarise(expand({ text: code, line: 1 }, constants), constants);
}

function expand({ text, line }: Source, constants: Constants): string {
  let result = "";
  let offset = 0;
  while (true) {
    const at = text.indexOf("@unroll", offset);
    if (at < 0) return result + text.slice(offset);
    result += text.slice(offset, at);
    const loop = parseLoop(text, at, line + newlines(text, at));
    result += repeat(loop, constants);
    offset = loop.next;
  }
}

function parseLoop(text: string, at: number, line: number): Loop {
  const head = LOOP.exec(text.slice(at));
  if (head === null) {
    throw new SyntaxError(
      `Cannot unroll line ${line} as a loop must read "@unroll for (var i = 0u; i < N; i++) {": current text is "${
        text.slice(at).split("\n", 1)[0].trim()
      }"`,
    );
  }
  const [whole, name, start, tested, end, stepped, increment, step] = head;
  if (tested !== name || stepped !== name) {
    throw new SyntaxError(
      `Cannot unroll line ${line} as one variable must be declared, tested and stepped: current variables are ${name}, ${tested}, ${stepped}`,
    );
  }
  const open = at + whole.length;
  const close = closingBrace(text, open, line);
  const body = { text: withoutComments(text.slice(open, close)), line };
  return { name, start, end, step: increment ? "1" : step, body, next: close + 1 };
}

function repeat(loop: Loop, constants: Constants): string {
  const { name, body } = loop;
  const [start, end, step] = [loop.start, loop.end, loop.step].map((expression) =>
    constant(expression, constants, body.line)
  );
  if (step < 1) {
    throw new SyntaxError(
      `Cannot unroll line ${body.line} as a step must be >= 1: step is ${step}`,
    );
  }
  const declares = /(^|[;{}\s])(let|var|const)\s/.test(body.text);
  const variable = new RegExp(`\\b${name}\\b`, "g");
  const copies: string[] = [];
  for (let i = start; i < end; i += step) {
    const text = expand({ ...body, text: body.text.replace(variable, `${i}u`) }, constants).trim();
    copies.push(declares ? `{ ${text} }` : text);
  }
  return copies.join("\n");
}

/** Turns `@registers` arrays into one variable per element. */
function scalarise(code: string, constants: Constants): string {
  const dimensions = new Map<string, number[]>();
  const declared = code.replace(REGISTERS, (mark, name: string, type: string, at: number) => {
    const line = newlines(code, at) + 1;
    const { sizes, element } = arrayType(type, constants, line);
    if (sizes.length === 0) {
      throw new SyntaxError(`Cannot expand line ${line} as registers must be an array: ${mark}`);
    }
    dimensions.set(name, sizes);
    return elementNames(name, sizes)
      .map((register) => `var ${register} = ${element}();`).join(" ");
  });
  if (dimensions.size === 0) return declared;
  const access = new RegExp(`\\b(${[...dimensions.keys()].join("|")})((?:\\[[^\\][]*\\])+)`, "g");
  return declared.replace(access, (text, name: string, subscripts: string, at: number) => {
    const line = newlines(declared, at) + 1;
    const sizes = dimensions.get(name) ?? [];
    const indices = subscripts.slice(1, -1).split("][").map((i) => constant(i, constants, line));
    const taken = indices.slice(0, sizes.length);
    if (taken.length < sizes.length || taken.some((index, axis) => index >= sizes[axis])) {
      throw new SyntaxError(
        `Cannot expand "${text}" on line ${line} as ${name} has ${sizes.join(" x ")} registers`,
      );
    }
    const component = indices.slice(sizes.length).map((index) => `[${index}]`).join("");
    return [name, ...taken].join("_") + component;
  });
}

function arrayType(type: string, constants: Constants, line: number) {
  const sizes: number[] = [];
  let element = type.trim();
  for (let array = ARRAY.exec(element); array !== null; array = ARRAY.exec(element)) {
    sizes.push(constant(array[2], constants, line));
    element = array[1].trim();
  }
  return { sizes, element };
}

function elementNames(name: string, [size, ...rest]: number[]): string[] {
  if (size === undefined) return [name];
  return Array.from({ length: size }, (_, i) => elementNames(`${name}_${i}`, rest)).flat();
}

/** Value of an expression of integers, names, `+ - * / %` and parentheses. */
function constant(expression: string, constants: Constants, line: number): number {
  const fail = (reason: string): never => {
    throw new SyntaxError(
      `Cannot evaluate "${expression.trim()}" on line ${line} as it must be a constant expression: ${reason}`,
    );
  };
  const tokens = expression.match(/\d+u?|\w+|\S/g) ?? [];
  let at = 0;
  const atom = (): number => {
    const token = tokens[at++];
    if (token === undefined) return fail("it ends too early");
    if (token === "(") {
      const value = sum();
      return tokens[at++] === ")" ? value : fail("a parenthesis is open");
    }
    if (/^\d/.test(token)) return parseInt(token);
    const value = constants[token];
    return value === undefined ? fail(`"${token}" is unknown`) : Number(value);
  };
  const product = (): number => {
    let value = atom();
    while ("*/%".includes(tokens[at] ?? "none")) {
      const operator = tokens[at++];
      const right = atom();
      if (operator === "*") value *= right;
      else if (right === 0) return fail("it divides by zero");
      else value = operator === "/" ? Math.trunc(value / right) : value % right;
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while ("+-".includes(tokens[at] ?? "none")) {
      value += tokens[at++] === "+" ? product() : -product();
    }
    return value;
  };
  const value = sum();
  return at === tokens.length ? value : fail(`"${tokens[at]}" is unexpected`);
}

function closingBrace(text: string, open: number, line: number): number {
  let depth = 1;
  for (let at = open; at < text.length; at++) {
    if (text.startsWith("//", at)) at = endOfLine(text, at);
    else if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  throw new SyntaxError(
    `Cannot unroll line ${line} as its brace must be closed: the text ends first`,
  );
}

function withoutComments(text: string): string {
  return text.replace(/\/\/[^\n]*/g, "");
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

function newlines(text: string, end: number): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0 && at < end; at = text.indexOf("\n", at + 1)) count++;
  return count;
}
