// Dialogs, menus, and the words at the foot of the page.

import { append, h, icon, iconButton, mark } from "./core.js";

// Opens a modal dialog and answers its element; `close` in the content's hands.
export function dialog(title, content, { wide = false, onclose } = {}) {
  const close = () => box.close();
  const heading = h("h2", {}, title);
  heading.id = `title-${Math.random().toString(36).slice(2)}`;
  const box = h("dialog.dialog", { "aria-labelledby": heading.id },
    h("header", {}, heading, iconButton("close", "Close", close)),
    h(".dialog-body", { tabIndex: 0 }, content));
  box.classList.toggle("wide", wide);
  box.addEventListener("close", () => {
    box.remove();
    onclose?.();
  });
  // A click beside it.
  box.addEventListener("mousedown", (event) => event.target === box && close());
  document.body.append(box);
  box.showModal();
  return box;
}

// Asks for one line of text; answers it, or null.
export function askText(title, { label, value = "", action = "OK", check = () => "" }) {
  return new Promise((resolve) => {
    let answer = null;
    const input = h("input", { type: "text", value, id: "asked", autocomplete: "off", maxLength: 200 });
    const fault = h("p.fault", { role: "alert" });
    const submit = (event) => {
      event.preventDefault();
      fault.textContent = check(input.value.trim());
      if (fault.textContent) return;
      answer = input.value.trim();
      box.close();
    };
    const form = h("form.fields", { onsubmit: submit },
      h("label", { htmlFor: "asked" }, label), input, fault,
      h(".actions", {}, h("button.plain", { type: "button", onclick: () => box.close() }, "Cancel"),
        h("button.primary", { type: "submit" }, action)));
    const box = dialog(title, form, { onclose: () => resolve(answer) });
    input.select();
  });
}

// Asks whether; answers true or false.
export function askWhether(title, words, action) {
  return new Promise((resolve) => {
    let answer = false;
    const yes = () => { answer = true; box.close(); };
    const box = dialog(title, h(".fields", {}, h("p", {}, words),
      h(".actions", {}, h("button.plain", { type: "button", onclick: () => box.close() }, "Cancel"),
        h("button.danger", { type: "button", onclick: yes }, action))),
    { onclose: () => resolve(answer) });
  });
}

// A menu below an element: [{ label, icon, act, danger }], or "-" for a line between.
export function menu(anchor, items) {
  const close = () => { list.remove(); removeEventListener("pointerdown", outside, true); mark(anchor, { "aria-expanded": "false" }); };
  const outside = (event) => { if (!list.contains(event.target)) close(); };
  const list = h(".menu", { role: "menu" });
  for (const item of items.filter(Boolean)) {
    if (item === "-") { list.append(h("hr", {})); continue; }
    const button = h("button", { type: "button", role: "menuitem", onclick: () => { close(); anchor.focus(); item.act(); } },
      icon(item.icon ?? "more"), item.label);
    button.classList.toggle("danger", Boolean(item.danger));
    list.append(button);
  }
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") { event.stopPropagation(); close(); anchor.focus(); }
    else if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length].focus();
    else if (event.key === "ArrowUp") buttons[(at + buttons.length - 1) % buttons.length].focus();
    else return;
    event.preventDefault();
  });
  // Within a landmark, where who hears the page looks for it.
  (anchor.closest("dialog") ?? document.querySelector("main") ?? document.body).append(list);
  const around = anchor.getBoundingClientRect();
  const width = list.offsetWidth, height = list.offsetHeight;
  list.style.left = `${Math.max(8, Math.min(around.left, innerWidth - width - 8))}px`;
  list.style.top = `${around.bottom + height + 8 > innerHeight ? Math.max(8, around.top - height - 4) : around.bottom + 4}px`;
  mark(anchor, { "aria-expanded": "true" });
  addEventListener("pointerdown", outside, true);
  list.querySelector("button")?.focus();
}

let shown = null;

// Says something at the foot of the page, with at most one thing to do about it.
export function say(words, { action, act, fault = false, seconds = 8 } = {}) {
  shown?.remove();
  const button = action && h("button", { type: "button", onclick: () => { box.remove(); act(); } }, action);
  const box = shown = append(h(".toast", { role: fault ? "alert" : "status" }), [h("span", {}, words), button,
    iconButton("close", "Dismiss", () => box.remove())]);
  box.classList.toggle("fault", fault);
  // A modal dialog stands above all else of the page.
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  setTimeout(() => box.remove(), seconds * 1000);
}

// What went wrong, in its own words.
export function complain(error) {
  console.debug(error);
  say(error.message || String(error), { fault: true, seconds: 12 });
}
