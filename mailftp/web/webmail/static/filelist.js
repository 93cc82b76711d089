// An account's files: a folder at a time, its address in the page's.

import { cell, h, icon, iconButton, mark, replace, watch } from "./core.js";
import { askText, askWhether, complain, menu, say } from "./dialogs.js";
import { inside, list, make, parent, place, remove, rename, room } from "./files.js";
import { count, longDate, shortDate, size } from "./format.js";
import { preview, shows } from "./preview.js";
import { uploads } from "./uploads.js";

// Rows that are made at a time; more when the last one comes into sight.
const ROWS = 200;
const checkName = (name) => (!name ? "Give it a name." : /[/\0]/.test(name) || name === "." || name === ".." ? "A name has no slash, and is more than dots." : "");
const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
const folderOf = () => (location.hash.startsWith("#/") ? location.hash.slice(1) : "/");
const named = (path) => { try { return decodeURIComponent(path); } catch { return path; } };

export async function showFiles(account, leave) {
  const folder = cell(folderOf());
  const entries = cell(null);
  const chosen = cell(new Set());
  const free = cell(null);

  const load = async () => {
    try {
      const path = folder.peek();
      const found = await list(path.endsWith("/") ? path : `${path}/`);
      if (path !== folder.peek()) return;
      found.sort((a, b) => (b.kind === "dir") - (a.kind === "dir") || compare(a.name, b.name));
      chosen.set(new Set());
      entries.set(found);
      free.set(await room());
    } catch (error) {
      if (error.status === 401) return leave();
      entries.set([]);
      complain(error);
    }
  };
  const go = (path) => { location.hash = path; };
  addEventListener("hashchange", () => { entries.set(null); folder.set(folderOf()); load(); });

  const sending = uploads((into) => into === folder.peek() && load());
  addEventListener("beforeunload", (event) => { if (sending.busy()) event.preventDefault(); });
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to upload", onchange: () => {
    sending.add(folder.peek(), [...picker.files]);
    picker.value = "";
  } });

  // What can be done to names; each is tried, the first that fails is told.
  const each = async (paths, work) => {
    try {
      for (const path of paths) await work(path);
    } catch (error) {
      complain(error);
    }
    await load();
  };
  const move = (paths, into) => each(paths, (path) => rename(path, `${into}${path.slice(parent(path).length).replace(/\/$/, "")}`));
  const erase = async (paths) => {
    const words = paths.length === 1 ? `“${named(paths[0].slice(parent(paths[0]).length).replace(/\/$/, ""))}”` : `${paths.length} names`;
    if (await askWhether("Delete for good?", `${words} cannot be had back; a folder goes with all that is in it.`, "Delete")) await each(paths, remove);
  };
  const newFolder = async () => {
    const name = await askText("New folder", { label: "Name", action: "Make", check: checkName });
    if (name) await each([inside(folder.peek(), name)], make);
  };
  const giveName = async (entry) => {
    const name = await askText("Rename", { label: "New name", value: entry.name, action: "Rename", check: checkName });
    if (name && name !== entry.name) await each([entry.path.replace(/\/$/, "")], (path) => rename(path, inside(parent(path), name)));
  };
  const moveSomewhere = async (paths) => {
    const to = await askText("Move", { label: "To which folder", value: named(folder.peek()), action: "Move",
      check: (path) => (path.startsWith("/") ? "" : "A folder's path begins with a slash.") });
    if (!to) return;
    const into = `/${to.split("/").filter(Boolean).map(encodeURIComponent).join("/")}`;
    await move(paths, into === "/" ? into : `${into}/`);
  };

  const tools = (entry) => [
    entry.kind === "file" && shows(entry) && { label: "Look at it", icon: "open", act: () => preview(entry) },
    entry.kind === "file" && { label: "Download", icon: "download", act: () => fetchFile(entry) },
    { label: "Rename", icon: "draft", act: () => giveName(entry) },
    { label: "Move", icon: "folder", act: () => moveSomewhere([entry.path]) },
    "-",
    { label: "Delete", icon: "trash", danger: true, act: () => erase([entry.path]) },
  ];
  const row = (entry) => {
    const isFolder = entry.kind === "dir";
    const tick = h("input", { type: "checkbox", "aria-label": `Select ${entry.name}`, checked: chosen.peek().has(entry.path),
      onchange: () => chosen.change((now) => { const next = new Set(now); if (tick.checked) next.add(entry.path); else next.delete(entry.path); return next; }) });
    const target = isFolder ? { href: `#${entry.path}` } : { href: place(entry.path).href, download: entry.name };
    const link = h("a.file-name", { ...target, onclick: (event) => { if (!isFolder && shows(entry)) { event.preventDefault(); preview(entry); } } },
      icon(isFolder ? "folder" : "file"), h("span", {}, entry.name));
    const more = iconButton("more", `What to do with ${entry.name}`, () => menu(more, tools(entry)), { "aria-haspopup": "menu", "aria-expanded": "false" });
    const line = h("li.file", { draggable: true, ondragstart: (event) => {
      const paths = chosen.peek().has(entry.path) ? [...chosen.peek()] : [entry.path];
      event.dataTransfer.setData("application/x-mailftp-paths", JSON.stringify(paths));
      event.dataTransfer.effectAllowed = "move";
    } }, tick, link, h("span.file-size", {}, isFolder || entry.size === undefined ? "" : size(entry.size)),
      h("time.file-time", { dateTime: entry.modified, title: longDate(entry.modified) }, shortDate(entry.modified)), more);
    if (isFolder) takesDrops(line, () => entry.path);
    return line;
  };

  // Files from outside are uploaded, names from the page moved.
  function takesDrops(element, into) {
    element.addEventListener("dragover", (event) => { event.preventDefault(); event.stopPropagation(); element.classList.add("drop"); });
    element.addEventListener("dragleave", () => element.classList.remove("drop"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      element.classList.remove("drop");
      const paths = event.dataTransfer.getData("application/x-mailftp-paths");
      if (event.dataTransfer.files.length) sending.add(into(), [...event.dataTransfer.files]);
      else if (paths) move(JSON.parse(paths).filter((path) => path !== into() && parent(path.replace(/\/$/, "")) !== into()), into());
    });
  }

  const crumbs = h("nav.crumbs", { "aria-label": "Where this is" });
  const names = h("ul.files", { "aria-label": "Files" });
  const none = h("p.quiet.none", {}, "There is nothing here. Drop files anywhere on the page.");
  const foot = h("li.end", { "aria-hidden": "true" });
  let shown = 0;
  const further = () => {
    const all = entries.peek() ?? [];
    foot.before(...all.slice(shown, shown + ROWS).map(row));
    shown = Math.min(all.length, shown + ROWS);
    foot.hidden = shown === all.length;
  };
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && further()).observe(foot);
  watch(() => {
    const all = entries();
    replace(names, foot);
    shown = 0;
    names.hidden = !all?.length;
    none.hidden = all === null || all.length > 0;
    if (all) further();
  });
  watch(() => {
    const parts = folder().split("/").filter(Boolean);
    const links = parts.map((part, at) => h("a", { href: `#/${parts.slice(0, at + 1).join("/")}/`, "aria-current": at === parts.length - 1 ? "page" : null }, named(part)));
    replace(crumbs, h("a", { href: "#/", "aria-current": parts.length ? null : "page" }, "Files"), links.map((link) => [h("span", { "aria-hidden": "true" }, "/"), link]));
    document.title = `${parts.length ? named(parts.at(-1)) : "Files"} · ${account.address}`;
  });

  const picked = h(".tools", { role: "toolbar", "aria-label": "What to do with the selection" },
    iconButton("close", "Select nothing", () => { chosen.set(new Set()); for (const box of names.querySelectorAll("input:checked")) box.checked = false; }),
    iconButton("folder", "Move", () => moveSomewhere([...chosen.peek()])),
    iconButton("trash", "Delete", () => erase([...chosen.peek()])));
  const told = h("span.quiet", { role: "status" });
  watch(() => {
    picked.hidden = chosen().size === 0;
    const left = free() === null ? "" : `, ${size(free())} free`;
    told.textContent = chosen().size ? `${chosen().size} selected` : entries() ? `${count(entries().length, "name")}${left}` : "…";
  });

  const main = h("main.file-page", {}, h("h1.hidden", {}, "Files"), crumbs,
    h(".file-tools", {},
      h("button.primary", { type: "button", onclick: () => picker.click() }, icon("plus"), "Upload"),
      h("button.plain", { type: "button", onclick: newFolder }, icon("folder"), "New folder"),
      iconButton("refresh", "Look again", load), told, picked, picker),
    sending.element, names, none);
  takesDrops(main, () => folder.peek());
  replace(document.body, h("header.bar", {}, h("a.plain", { href: "./" }, icon("mail"), "Mail"), h("span.quiet", {}, account.address),
    h("button.plain", { type: "button", onclick: leave }, "Sign out")), main);
  mark(document.body, { "data-view": "files" });
  if (!location.hash) go("/");
  await load();
}

function fetchFile(entry) {
  const link = h("a", { href: place(entry.path).href, download: entry.name });
  document.body.append(link);
  link.click();
  link.remove();
  say(`“${entry.name}” is on its way.`);
}
