// Between mail and files: what is attached to a mail is saved among the files, and files are attached to a mail.

import { h, icon, iconButton, replace } from "./core.js";
import { askText, askWhether, complain, dialog, say } from "./dialogs.js";
import { inside, list, make, parent, read, upload } from "./files.js";
import { size } from "./format.js";

const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;

// A dialog that walks through the folders. `pick` shows files too, to be ticked; without it a folder is chosen.
// Answers the entries that are ticked, or the folder's path; null where it was closed.
function walk(title, action, pick) {
  return new Promise((resolve) => {
    let answer = null, here = "/";
    const ticked = new Map();
    const where = h("p.quiet", { role: "status" });
    const names = h("ul.picker", { "aria-label": "Files" });
    const choose = h("button.primary", { type: "button", disabled: pick, onclick: () => { answer = pick ? [...ticked.values()] : here; box.close(); } }, action);
    const folder = (label, path) => h("li", {}, h("button.folder", { type: "button", onclick: () => go(path) }, icon(path.length < here.length ? "back" : "folder"), label));
    const file = (entry) => {
      const tick = h("input", { type: "checkbox", checked: ticked.has(entry.path), onchange: () => {
        if (tick.checked) ticked.set(entry.path, entry); else ticked.delete(entry.path);
        choose.disabled = ticked.size === 0;
      } });
      return h("li", {}, h("label.check", {}, tick, h("span.attachment-name", {}, entry.name), h("span.quiet", {}, size(entry.size))));
    };
    const go = async (path) => {
      try {
        const found = (await list(path)).sort((a, b) => (b.kind === "dir") - (a.kind === "dir") || compare(a.name, b.name));
        here = path;
        where.textContent = decodeURIComponent(here);
        replace(names, here !== "/" && folder("Up", parent(here.slice(0, -1))),
          found.map((entry) => (entry.kind === "dir" ? folder(entry.name, entry.path) : pick && entry.kind === "file" && file(entry))));
      } catch (error) {
        complain(error);
      }
    };
    const newFolder = async () => {
      const name = await askText("New folder", { label: "Name", action: "Make" });
      if (name) await make(inside(here, name)).then(() => go(inside(here, name, true))).catch(complain);
    };
    const box = dialog(title, h(".fields", {}, where, names, h(".actions", {},
      !pick && h("button.plain", { type: "button", onclick: newFolder }, "New folder"), choose)), { onclose: () => resolve(answer) });
    go("/");
  });
}

// Files as a browser has them when somebody chooses them; none where nobody did.
export async function chooseFiles() {
  const entries = await walk("Attach from your files", "Attach", true);
  const files = [];
  for (const entry of entries ?? []) files.push(new File([await read(entry.path)], entry.name));
  return files;
}

// Saves what stands at `url` under its name in a folder that somebody chooses.
export async function saveToFiles(url, name) {
  const folder = await walk(`Save ${name}`, "Save here", false);
  if (folder === null) return;
  try {
    const response = await fetch(url, { credentials: "same-origin" });
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    const file = new File([await response.blob()], name);
    const path = inside(folder, name);
    try {
      await upload(path, file);
    } catch (error) {
      if (error.status !== 412) throw error;
      if (!await askWhether("Replace the file?", `There is a file “${name}” already.`, "Replace")) return;
      await upload(path, file, { replace: true });
    }
    say(`${name} is among your files.`);
  } catch (error) {
    complain(error);
  }
}

export const saveButton = (url, name) => iconButton("folder", `Save ${name} to your files`, () => saveToFiles(url, name), { classes: ".save" });
