import { type Arguments, type Command, UsageError } from "./command.ts";
import { mayColour, print, printJson, writeFile } from "./output.ts";
import { documentOf, type Picture } from "./pattern/picture.ts";
import { renderPng } from "./pattern/png.ts";
import { renderSvg } from "./pattern/svg.ts";
import { renderTerminal } from "./pattern/terminal.ts";

/** The flag that says where a picture goes. */
export const OUT: Command["flags"] = {
  out: { value: "FILE", help: "write the picture to FILE, .svg or .png" },
};

/** Prints a picture, or writes it to the file of `--out`. */
export async function showPicture(
  operator: string,
  picture: Picture,
  args: Arguments,
): Promise<void> {
  const out = args.text("out");
  if (out !== undefined) await writeFile(out, await fileOf(out, picture));
  if (args.has("json")) {
    printJson({ operator, ...documentOf(picture), ...(out !== undefined && { out }) });
  } else if (out !== undefined) {
    print(out);
  } else {
    const width = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : 100;
    print(renderTerminal(picture, { width, colour: mayColour() }));
  }
}

async function fileOf(path: string, picture: Picture): Promise<Uint8Array> {
  if (/\.svg$/i.test(path)) return new TextEncoder().encode(renderSvg(picture));
  if (/\.png$/i.test(path)) return await renderPng(picture);
  throw new UsageError(
    `Cannot run the command: --out must end in .svg or .png, current value is "${path}"`,
  );
}
