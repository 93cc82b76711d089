// Writing with formats: an element that is edited in place, read as HTML and as plain text by walking what is in
// it. Nothing is ever made of a string of markup, and what is pasted comes in as text.

import { h, iconButton } from "./core.js";

const INLINE = { B: "b", STRONG: "b", I: "i", EM: "i", U: "u", CODE: "code", S: "s", STRIKE: "s" };
const BLOCK = { P: "p", DIV: "div", UL: "ul", OL: "ol", LI: "li", BLOCKQUOTE: "blockquote", PRE: "pre" };
const escape = (text) => text.replace(/[&<>"]/g, (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;" })[one]);

// `blocks` are what it begins with: nodes. `changed` is called when something was typed, `dropped` with files.
export function makeEditor({ blocks, changed, dropped }) {
  const area = h(".editor", { contentEditable: "true", role: "textbox", "aria-multiline": "true", "aria-label": "Text of the mail", spellcheck: true });
  area.append(...blocks);
  const command = (name, value) => {
    area.focus();
    // Deprecated for fifteen years, and still the one way that keeps the browser's own undo.
    document.execCommand(name, false, value);
    changed();
  };
  const link = () => {
    const picked = String(getSelection());
    const url = prompt("Address of the link", /^https?:/.test(picked) ? picked : "https://");
    if (!url || !/^(https?:\/\/|mailto:)\S+$/i.test(url)) return;
    if (picked) command("createLink", url);
    else { command("insertText", url); }
  };
  const tool = (picture, label, work) => iconButton(picture, label, work, { onmousedown: (event) => event.preventDefault() });
  const tools = h(".format", { role: "toolbar", "aria-label": "Format" },
    tool("bold", "Bold", () => command("bold")), tool("italic", "Italic", () => command("italic")),
    tool("underline", "Underline", () => command("underline")), tool("bullets", "List", () => command("insertUnorderedList")),
    tool("numbers", "Numbered list", () => command("insertOrderedList")), tool("quote", "Quote", () => command("formatBlock", "blockquote")),
    tool("link", "Link", link), tool("clear", "No format", () => { command("removeFormat"); command("formatBlock", "div"); }));
  area.addEventListener("input", changed);
  area.addEventListener("paste", (event) => {
    event.preventDefault();
    const files = [...event.clipboardData.files];
    if (files.length) dropped(files);
    else command("insertText", event.clipboardData.getData("text/plain"));
  });
  return { area, tools, html: () => htmlOf(area), text: () => textOf(area) };
}

// Lines of text as what the editor has of them.
export const lines = (text) => text.replace(/\r\n/g, "\n").split("\n").map((line) => h("div", {}, line || h("br", {})));

export const quoted = (text) => h("blockquote", {}, lines(text));

const DECODED = { amp: "&", lt: "<", gt: ">", quot: "\"", nbsp: "\u00a0", "#39": "'", "#160": "\u00a0" };
const decode = (text) => text.replace(/&(#?\w{1,6});/g, (whole, name) => DECODED[name] ?? whole);

// Nodes of HTML that we wrote: the tags of formats and links, each made anew; anything else is left out, its text
// stays.
export function fromHtml(html) {
  const root = document.createDocumentFragment();
  const open = [root];
  for (const [, end, name, rest, text] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)([^>]*)>|([^<]+)/gi)) {
    if (text !== undefined) { open.at(-1).append(decode(text)); continue; }
    const tag = name.toUpperCase();
    if (tag === "BR") { open.at(-1).append(h("br", {})); continue; }
    if (!(tag in INLINE) && !(tag in BLOCK) && tag !== "A") continue;
    if (end) {
      const at = open.findLastIndex((node) => node.tagName === tag);
      if (at > 0) open.length = at;
      continue;
    }
    if (open.length > 60) continue;
    const href = decode(/\shref="([^"]*)"/i.exec(rest)?.[1] ?? "");
    const node = tag === "A" ? h("a", { href: /^(https?|mailto):/i.test(href) ? href : undefined }) : document.createElement(name);
    open.at(-1).append(node);
    open.push(node);
  }
  return [...root.childNodes];
}

function htmlOf(element) {
  let made = "";
  for (const node of element.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) made += escape(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE) continue;
    const inner = htmlOf(node);
    const tag = INLINE[node.tagName] ?? BLOCK[node.tagName];
    if (node.tagName === "BR") made += "<br>";
    else if (node.tagName === "A" && /^(https?|mailto):/i.test(node.href)) made += `<a href="${escape(node.href)}">${inner}</a>`;
    else made += tag ? `<${tag}>${inner}</${tag}>` : inner;
  }
  return made;
}

// Plain text: lists with marks, quotes with ">", links with where they lead.
function textOf(element, depth = 0) {
  const made = [];
  let line = "";
  const end = () => { made.push(line); line = ""; };
  let number = 0;
  const walk = (parent) => {
    for (const node of parent.childNodes) {
      if (node.nodeType === Node.TEXT_NODE) { line += node.data.replace(/\u00a0/g, " "); continue; }
      if (node.nodeType !== Node.ELEMENT_NODE) continue;
      const tag = node.tagName;
      if (tag === "BR") { if (node.nextSibling || parent === element) end(); continue; }
      if (tag === "BLOCKQUOTE") {
        if (line) end();
        made.push(...textOf(node, depth + 1).split("\n").map((one) => (one.startsWith(">") ? `>${one}` : `> ${one}`).trimEnd()));
        continue;
      }
      if (!(tag in BLOCK)) {
        const before = line.length;
        walk(node);
        if (tag === "A" && /^https?:/.test(node.href) && !line.slice(before).includes(node.href.replace(/\/$/, ""))) line += ` <${node.href}>`;
        continue;
      }
      if (line) end();
      if (tag === "OL" || tag === "UL") number = 0;
      if (tag === "LI") line = node.parentElement.tagName === "OL" ? `${(number += 1)}. ` : "- ";
      walk(node);
      if (tag !== "UL" && tag !== "OL") end();
    }
  };
  walk(element);
  if (line) end();
  return made.join("\n");
}

// A mail that has HTML alone, as text for a quote.
export function roughText(html) {
  return html.replace(/<(style|script|head|title)\b[\s\S]*?(<\/\1\s*>|$)/gi, "").replace(/\s+/g, " ")
    .replace(/<(br|\/p|\/div|\/tr|\/h\d|\/li)\b[^>]*>/gi, "\n").replace(/<[^>]*>/g, "")
    .replace(/&(lt|gt|quot|nbsp|amp);/g, (_, name) => ({ lt: "<", gt: ">", quot: "\"", nbsp: " ", amp: "&" })[name])
    .replace(/ *\n */g, "\n").replace(/\n{3,}/g, "\n\n").trim();
}
