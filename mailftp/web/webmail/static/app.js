// The three panes, and what goes between them.

import { cell, derived, h, icon, iconButton, later, mark, replace, watch } from "./core.js";
import { Actions } from "./actions.js";
import { compose, draftAgain, forwarded, replyTo, unsavedAgain } from "./composer.js";
import { askWhether, complain, menu } from "./dialogs.js";
import { closeFolders, folderIcon, folderName, foldersButton, foldersPane } from "./folders.js";
import { unsaved } from "./drafts.js";
import { count } from "./format.js";
import { listPane } from "./list.js";
import { Listing, Mail } from "./mail.js";
import { readerPane } from "./reader.js";
import { settingsDialog } from "./settings.js";
import { shortcuts } from "./shortcuts.js";

// Shows the account's mail; answers what ends it.
export async function showApp(client, account, leave) {
  const mail = new Mail(client);
  await mail.start();
  const mailbox = cell(mail.byRole("inbox")?.id ?? mail.mailboxes.peek()[0]?.id);
  const sought = cell("");
  const unreadOnly = cell(false);
  const current = cell(null);
  const chosen = cell(new Set());
  const listing = derived(() => {
    const text = sought().trim();
    const filter = text ? { text } : { inMailbox: mailbox() };
    if (unreadOnly()) filter.notKeyword = "$seen";
    return new Listing(mail, filter, text);
  });
  const outgoing = () => !sought.peek() && ["sent", "drafts"].includes(mail.byId(mailbox.peek())?.role);
  const view = (name) => { document.body.dataset.view = name; };

  const actions = new Actions(mail, { listing, leave: (ids) => {
    chosen.set(new Set());
    if (ids.includes(current.peek())) {
      const next = list.step(1);
      open(ids.includes(next) ? null : next, { show: false });
    }
  } });
  const start = (begin) => compose(mail, begin).catch(complain);
  const write = client.sends ? {
    fresh: () => start(),
    reply: (email) => start(replyTo(email, account.address, false)),
    replyAll: (email) => start(replyTo(email, account.address, true)),
    forward: (email) => start(forwarded(email)),
  } : null;
  // One of the drafts is written on and not read.
  const openDraft = async (id) => {
    const list = await mail.conversation(mail.emails.get(id).threadId);
    await start(draftAgain(list.find((email) => email.id === id)));
  };
  const open = (id, { show = true } = {}) => {
    if (show && write && mail.emails.get(id)?.keywords.$draft) { openDraft(id).catch(complain); return; }
    current.set(id ?? null);
    if (show && id) view("reader");
    if (!id) view("list");
  };
  const choose = (id) => {
    sought.set("");
    search.value = "";
    chosen.set(new Set());
    current.set(null);
    mailbox.set(id);
    closeFolders();
    view("list");
  };
  const back = () => { current.set(null); view("list"); list.focus(); };

  const list = listPane({ mail, listing, current, chosen, open, act: actions, outgoing,
    empty: () => sought.peek() ? "Nothing was found." : unreadOnly.peek() ? "Everything here is read." : "There is nothing here." });
  
  const seek = later(180, () => { current.set(null); chosen.set(new Set()); sought.set(search.value); });
  const search = h("input", { type: "search", placeholder: "Search all mail", "aria-label": "Search all mail", oninput: seek, maxLength: 500 });
  const targets = () => (chosen.peek().size ? [...chosen.peek()] : current.peek() ? [current.peek()] : []);

  const moreItems = () => [
    { label: "Mark as read", icon: "open", act: () => actions.seen(targets()) },
    { label: "Mark as unread", icon: "mail", act: () => { const ids = targets(); back(); actions.seen(ids, false); } },
    { label: "Star", icon: "flag", act: () => actions.star(targets()) },
    "-",
    ...mail.mailboxes.peek().filter((one) => one.id !== mailbox.peek() && one.myRights?.mayAddItems !== false)
      .map((one) => ({ label: `Move to ${folderName(one)}`, icon: folderIcon(one), act: () => actions.move(targets(), one) })),
  ];
  const toolbar = (label, ...before) => {
    const more = iconButton("more", "More", () => menu(more, moreItems()), { "aria-haspopup": "menu", "aria-expanded": "false" });
    return h(".tools", { role: "toolbar", "aria-label": label }, before,
      iconButton("archive", "Archive (e)", () => actions.archive(targets())),
      iconButton("junk", "Junk (!)", () => actions.junk(targets())),
      iconButton("trash", "Delete (#)", () => actions.remove(targets(), askWhether)), more);
  };
  const picking = toolbar("What to do with the selection", iconButton("close", "Select nothing", () => chosen.set(new Set())));

  const reader = readerPane({ mail, current, act: actions, back, tools: toolbar("What to do with the conversation"), write });

  const heading = h("h2", {});
  const number = h("span.quiet", {});
  watch(() => {
    mail.mailboxes();
    const picked = chosen().size;
    picking.hidden = picked === 0;
    heading.textContent = sought() ? "Found" : folderName(mail.byId(mailbox()) ?? { name: "Mail" });
    number.textContent = picked ? `${count(picked, "conversation")} selected` : list.describe();
    const unread = mail.byRole("inbox")?.unreadThreads ?? 0;
    document.title = `${unread ? `(${unread}) ` : ""}${heading.textContent} · ${account.address}`;
  });
  const filter = h("button.plain.small", { type: "button", onclick: () => unreadOnly.change((on) => !on) }, "Unread");
  watch(() => mark(filter, { "aria-pressed": String(unreadOnly()) }));

  const settings = () => settingsDialog({ client, account, leave });
  const ended = shortcuts({ list, open, back, current, chosen, actions, targets, search, choose, mail, settings, write, reader });
  replace(document.body,
    h("a.skip", { href: "#conversations" }, "Skip to the conversations"),
    foldersPane(mail, { chosen: mailbox, choose, drop: (ids, target) => actions.move(ids, target), address: account.address,
      tools: iconButton("settings", "Settings", settings),
      compose: write && h("button.primary.compose", { type: "button", onclick: () => { closeFolders(); write.fresh(); } }, icon("draft"), "Compose") }),
    h(".veil", { onclick: closeFolders }),
    h("main.panes", {}, h("h1.hidden", {}, "Mail"),
      h("section.list", { id: "conversations", "aria-label": "Conversations" },
        h(".search", {}, foldersButton(), search),
        h("header.list-head", {}, h(".list-title", {}, heading, number), filter,
          iconButton("refresh", "Look for new mail", () => refresh()),
          write && iconButton("draft", "Compose (c)", write.fresh, { classes: ".narrow-only" })),
        picking, list.element),
      reader.element));
  view("list");
  // What was typed when the page went away.
  const [kept] = unsaved();
  if (kept && write) start(unsavedAgain(kept));

  const refresh = async () => {
    try {
      await mail.follow();
      listing.peek().refresh(...list.sight());
    } catch (error) {
      complain(error);
    }
  };
  return { end: follow(client, refresh, ended), refresh };
}

// New mail without a reload: the server tells (RFC 8620 section 7.3). A proxy may hold that back: the page looks
// for itself now and then.
function follow(client, refresh, ended) {
  const soon = later(150, refresh);
  const timer = setInterval(() => document.visibilityState === "visible" && soon(), 120000);
  const seen = () => document.visibilityState === "visible" && soon();
  document.addEventListener("visibilitychange", seen);
  const silence = client.listen(["Email", "Mailbox"], soon);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", seen);
    silence();
    ended();
  };
}
