// The list of conversations. Of a hundred thousand rows those in sight are elements, and a few around them.

import { h, icon, mark, replace, unseen, watch } from "./core.js";
import { count, shortDate } from "./format.js";
import { who } from "./mail.js";

const AROUND = 8;

// `listing` and `current` (an email's id) are cells; `open` shows a conversation, `chosen` is a cell with a set of ids.
export function listPane({ mail, listing, current, chosen, open, act, outgoing, empty }) {
  const rows = h(".rows-space", { role: "presentation" });
  const scroller = h(".scroller", { tabIndex: 0, role: "listbox", "aria-label": "List of conversations", "aria-multiselectable": "true" }, rows);
  const note = h("p.note", { role: "status" });
  const made = new Map();
  let rowHeight = 76;
  let anchor = null;

  const sight = () => {
    const from = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - AROUND);
    return [from, from + Math.ceil(scroller.clientHeight / rowHeight) + 2 * AROUND];
  };

  const draw = () => {
    const now = listing();
    if (!now) return;
    const total = now.total();
    now.filled();
    mail.changed();
    const here = current(), picked = chosen();
    const fault = now.fault();
    note.textContent = fault ? fault.message : total === 0 ? empty() : total === null ? "Reading…" : "";
    note.hidden = !note.textContent;
    rows.style.height = `${(total ?? 0) * rowHeight}px`;
    unseen(() => {
      const [from, to] = sight();
      const last = Math.min(to, total ?? to);
      now.need(from, Math.max(from + 1, last));
      const wanted = new Set();
      for (let at = from; at < last; at += 1) {
        const id = now.ids[at];
        const key = id ?? `gap${at}`;
        wanted.add(key);
        const shown = fill(made.get(key) ?? add(key), now, id, at, total);
        mark(shown, { "aria-selected": id !== undefined && (picked.has(id) || id === here) ? "true" : "false" });
        shown.classList.toggle("picked", picked.has(id));
        shown.classList.toggle("current", id === here);
      }
      for (const [key, row] of made) if (!wanted.has(key)) { row.remove(); made.delete(key); }
      mark(scroller, { "aria-activedescendant": made.get(here)?.id });
      scroller.classList.toggle("picking", picked.size > 0);
    });
  };

  const add = (key) => {
    const row = h(".row", { role: "option" });
    row.id = `row-${key}`;
    made.set(key, row);
    rows.append(row);
    return row;
  };

  const fill = (row, now, id, at, total) => {
    row.style.transform = `translateY(${at * rowHeight}px)`;
    mark(row, { "aria-posinset": at + 1, "aria-setsize": total ?? -1 });
    const email = id === undefined ? undefined : mail.emails.get(id);
    const snippet = now.snippets.get(id);
    if (row.email === email && row.snippet === snippet && row.filled) return row;
    Object.assign(row, { email, snippet, filled: true });
    row.dataset.id = id ?? "";
    row.draggable = Boolean(email);
    if (!email) return replace(row, h(".row-gap", {}));
    const seen = "$seen" in email.keywords, flagged = "$flagged" in email.keywords;
    row.classList.toggle("unread", !seen);
    const names = who(outgoing() ? email.to : email.from) || "(nobody)";
    const star = h("span.star", { title: flagged ? "Take the star away" : "Star" }, icon("flag"));
    star.classList.toggle("on", flagged);
    return replace(row,
      h("span.pick", { title: "Select" }, h("span.initial", {}, initial(names)), icon("check")),
      h(".row-text", {},
        h(".row-first", {}, h("span.names", {}, outgoing() ? `To: ${names}` : names),
          "$answered" in email.keywords && icon("reply"),
          email.hasAttachment && icon("attach"),
          h("time", { dateTime: email.receivedAt }, shortDate(email.receivedAt))),
        h(".subject", {}, !seen && h("span.hidden", {}, "Unread. "), flagged && h("span.hidden", {}, "Starred. "),
          snippet?.subject ? marked(snippet.subject) : email.subject || "(no subject)"),
        h(".preview", {}, snippet?.preview ? marked(snippet.preview) : email.preview)),
      star);
  };

  const select = (id, range) => {
    const now = listing.peek();
    chosen.change((before) => {
      const after = new Set(before);
      if (range && anchor) {
        const [a, b] = [now.ids.indexOf(anchor), now.ids.indexOf(id)].sort((x, y) => x - y);
        for (const each of now.ids.slice(Math.max(0, a), b + 1)) if (each) after.add(each);
      } else if (!after.delete(id)) after.add(id);
      return after;
    });
    anchor = id;
  };

  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    const id = row?.dataset.id;
    if (!id) return;
    if (event.target.closest(".star")) act.star([id]);
    else if (event.target.closest(".pick") || event.ctrlKey || event.metaKey || event.shiftKey) select(id, event.shiftKey);
    else open(id);
  });
  rows.addEventListener("dragstart", (event) => {
    const id = event.target.dataset?.id;
    if (!id) return;
    const picked = chosen.peek();
    event.dataTransfer.setData("application/x-emails", JSON.stringify(picked.has(id) ? [...picked] : [id]));
    event.dataTransfer.effectAllowed = "move";
  });

  let drawn = 0;
  scroller.addEventListener("scroll", () => { drawn ||= requestAnimationFrame(() => { drawn = 0; unseen(draw); }); }, { passive: true });
  new ResizeObserver(() => {
    rowHeight = parseFloat(getComputedStyle(scroller).getPropertyValue("--row")) || 76;
    unseen(draw);
  }).observe(scroller);
  watch(() => { listing(); unseen(() => { scroller.scrollTop = 0; made.forEach((row) => row.remove()); made.clear(); }); });
  watch(draw);

  return {
    element: h(".list-body", {}, note, scroller),
    focus: () => scroller.focus(),
    select,
    sight,
    // Moves to the next or the one before; brings it into sight.
    step(by) {
      const now = listing.peek();
      const at = now.ids.indexOf(current.peek());
      const next = Math.min((now.total.peek() ?? 1) - 1, Math.max(0, at < 0 ? 0 : at + by));
      const top = next * rowHeight;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + rowHeight > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + rowHeight - scroller.clientHeight;
      return now.ids[next];
    },
    describe: () => { const total = listing()?.total(); return total ? count(total, "conversation") : ""; },
  };
}

const initial = (name) => (name.match(/[\p{L}\p{N}]/u)?.[0] ?? "?").toUpperCase();

// A snippet has nothing but text and <mark> (RFC 8621 section 5.1): that is read here, and nothing else.
export function marked(text) {
  return text.split(/(<mark>.*?<\/mark>)/s).map((piece) => {
    const found = /^<mark>(.*)<\/mark>$/s.exec(piece);
    return found ? h("mark", {}, plain(found[1])) : plain(piece);
  });
}

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": "\"", "&#39;": "'", "&#x27;": "'", "&apos;": "'" };
const plain = (text) => text.replace(/&(?:lt|gt|amp|quot|apos|#39|#x27);/g, (entity) => ENTITIES[entity]);
