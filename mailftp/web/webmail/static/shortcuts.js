// The keyboard.

import { h } from "./core.js";
import { askWhether, dialog } from "./dialogs.js";

const KEYS = [
  ["j, ↓", "the next conversation"], ["k, ↑", "the one before"], ["Enter, o", "open it"], ["u, Esc", "back to the list"],
  ["x", "select it"], ["e", "archive"], ["#, Delete", "delete"], ["!", "junk"], ["s", "star"], ["Shift U", "mark as unread"],
  ["Shift I", "mark as read"], ["c", "write a mail"], ["r", "reply"], ["a", "reply to all"],
  ["f", "forward"], ["/", "search"], ["g i", "go to Inbox"], ["g s", "go to Sent"], ["g d", "go to Drafts"],
  ["g a", "go to Archive"], ["g t", "go to Trash"], ["?", "this list"],
];
const GO = { i: "inbox", s: "sent", d: "drafts", a: "archive", t: "trash" };

export const showShortcuts = () => dialog("Keyboard", h("dl.details.keys", {},
  KEYS.map(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])));

// Answers what ends it.
export function shortcuts({ list, open, back, current, actions, targets, search, choose, mail, settings, write, reader }) {
  let going = false;
  const keys = {
    j: () => open(list.step(1), { show: false }),
    ArrowDown: () => open(list.step(1), { show: false }),
    k: () => open(list.step(-1), { show: false }),
    ArrowUp: () => open(list.step(-1), { show: false }),
    Enter: () => current.peek() && open(current.peek()),
    o: () => current.peek() && open(current.peek()),
    u: back,
    Escape: back,
    x: () => current.peek() && list.select(current.peek(), false),
    e: () => actions.archive(targets()),
    "#": () => actions.remove(targets(), askWhether),
    Delete: () => actions.remove(targets(), askWhether),
    "!": () => actions.junk(targets()),
    s: () => actions.star(targets()),
    U: () => { const ids = targets(); back(); actions.seen(ids, false); },
    I: () => actions.seen(targets()),
    "/": () => search.focus(),
    c: () => write?.fresh(),
    r: () => reader.latest() && write?.reply(reader.latest()),
    a: () => reader.latest() && write?.replyAll(reader.latest()),
    f: () => reader.latest() && write?.forward(reader.latest()),
    "?": showShortcuts,
    ",": settings,
  };
  const hear = (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable=true], dialog, .composer, .menu");
    if (event.target === search && event.key === "Escape") { search.value = ""; search.dispatchEvent(new Event("input")); list.focus(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    // What a button or a link does by itself.
    if (event.key === "Enter" && event.target.closest("button, a")) return;
    if (going) {
      going = false;
      const mailbox = mail.byRole(GO[event.key]);
      if (mailbox) { event.preventDefault(); choose(mailbox.id); return; }
    }
    if (event.key === "g") { going = true; return; }
    const work = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (!work) return;
    event.preventDefault();
    work();
  };
  document.addEventListener("keydown", hear);
  return () => document.removeEventListener("keydown", hear);
}
