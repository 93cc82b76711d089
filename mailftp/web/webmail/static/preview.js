// Files shown in a dialog: pictures, text, PDF. What a file holds is made a blob of a kind that we name: nothing of
// it runs, whatever it calls itself.

import { h } from "./core.js";
import { complain, dialog } from "./dialogs.js";
import { place, read } from "./files.js";
import { size } from "./format.js";

const PICTURES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif", bmp: "image/bmp" };
const TEXTS = new Set(["txt", "md", "rst", "log", "csv", "tsv", "json", "xml", "toml", "yaml", "yml", "ini", "conf", "py", "js", "css", "html", "sh", "eml", "ics", "vcf"]);
// Octets that are fetched to be looked at.
const LARGEST = 30 * 1000 * 1000;
const TEXT = 256 * 1024;

const ending = (name) => name.toLowerCase().match(/\.([a-z0-9]+)$/)?.[1] ?? "";

export const shows = (entry) => {
  const kind = ending(entry.name);
  return TEXTS.has(kind) || ((kind in PICTURES || kind === "pdf") && entry.size <= LARGEST);
};

export async function preview(entry) {
  const kind = ending(entry.name);
  const download = h("a.plain", { href: place(entry.path).href, download: entry.name }, `Download, ${size(entry.size)}`);
  let url = null;
  try {
    const octets = await read(entry.path, TEXTS.has(kind) && entry.size > TEXT ? TEXT : 0);
    let shown;
    if (TEXTS.has(kind)) {
      const text = new TextDecoder().decode(octets);
      shown = h("pre.source", {}, entry.size > TEXT ? `${text}\n… the first ${size(TEXT)} of ${size(entry.size)}` : text);
    } else {
      url = URL.createObjectURL(new Blob([octets], { type: PICTURES[kind] ?? "application/pdf" }));
      shown = kind in PICTURES ? h("img.preview", { src: url, alt: entry.name }) : h("iframe.preview", { src: url, title: entry.name });
    }
    dialog(entry.name, [shown, h(".actions", {}, download)], { wide: true, onclose: () => url && URL.revokeObjectURL(url) });
  } catch (error) {
    complain(error);
  }
}
