// The mailboxes, at the left: shown, made, renamed, removed; mails are dropped on them, and they on each other.

import { h, icon, iconButton, mark, replace, watch } from "./core.js";
import { askText, askWhether, complain, menu, say } from "./dialogs.js";

const ICONS = { inbox: "inbox", drafts: "draft", sent: "send", archive: "archive", junk: "junk", trash: "trash" };
const NAMES = { inbox: "Inbox", drafts: "Drafts", sent: "Sent", archive: "Archive", junk: "Junk", trash: "Trash" };
const MAILS = "application/x-emails", FOLDER = "application/x-folder";

export const folderName = (mailbox) => NAMES[mailbox.role] ?? mailbox.name;
export const folderIcon = (mailbox) => ICONS[mailbox.role] ?? "folder";

// `chosen` is a cell with the id of the one that is shown, `choose` shows another, `drop` takes mails to one.
export function foldersPane(mail, { chosen, choose, drop, address, tools, compose }) {
  const list = h("ul", {});
  const row = (mailbox, current) => {
    const drafts = mailbox.role === "drafts";
    const number = drafts ? mailbox.totalEmails : mailbox.unreadThreads;
    const button = h("button.folder", { type: "button", style: { "--depth": mailbox.depth }, draggable: !mailbox.role, onclick: () => choose(mailbox.id) },
      icon(folderIcon(mailbox)), h("span.folder-name", {}, folderName(mailbox)),
      number > 0 && h("span.count", {}, number.toLocaleString(), h("span.hidden", {}, drafts ? " drafts" : " unread")));
    mark(button, { "aria-current": current ? "page" : null });
    button.dataset.id = mailbox.id;
    button.addEventListener("dragstart", (event) => event.dataTransfer.setData(FOLDER, mailbox.id));
    button.addEventListener("dragover", (event) => {
      if (![MAILS, FOLDER].some((kind) => event.dataTransfer.types.includes(kind))) return;
      event.preventDefault();
      button.classList.add("dropping");
    });
    button.addEventListener("dragleave", () => button.classList.remove("dropping"));
    button.addEventListener("drop", (event) => {
      event.preventDefault();
      button.classList.remove("dropping");
      const mails = event.dataTransfer.getData(MAILS), folder = event.dataTransfer.getData(FOLDER);
      if (mails) drop(JSON.parse(mails), mailbox);
      else if (folder && folder !== mailbox.id) change(folder, { parentId: mailbox.id }).catch(complain);
    });
    const more = iconButton("more", `More about ${folderName(mailbox)}`, () => menu(more, items(mailbox)), { classes: ".folder-more", "aria-haspopup": "menu", "aria-expanded": "false" });
    return [button, more];
  };

  const set = async (what) => {
    const told = await mail.client.call("Mailbox/set", what);
    const [failed] = Object.values({ ...told.notCreated, ...told.notUpdated, ...told.notDestroyed });
    if (failed) throw new Error(failed.description || `The server refused: ${failed.type}.`);
    await mail.readMailboxes();
    return told;
  };
  const change = (id, properties) => set({ update: { [id]: properties } });

  const check = (parentId, own) => (name) => {
    if (!name) return "Give it a name.";
    const taken = mail.mailboxes.peek().some((one) => one.id !== own && (one.parentId ?? null) === parentId && one.name.toLowerCase() === name.toLowerCase());
    return taken ? "There is a folder of that name." : "";
  };

  const make = async (parent) => {
    const parentId = parent?.id ?? null;
    const name = await askText(parent ? `New folder in ${folderName(parent)}` : "New folder", { label: "Name", action: "Create", check: check(parentId) });
    if (name === null) return;
    try {
      const told = await set({ create: { new: { name, parentId } } });
      choose(told.created.new.id);
    } catch (error) {
      complain(error);
    }
  };

  const rename = async (mailbox) => {
    const name = await askText(`Rename ${mailbox.name}`, { label: "New name", value: mailbox.name, action: "Rename", check: check(mailbox.parentId ?? null, mailbox.id) });
    if (name !== null && name !== mailbox.name) await change(mailbox.id, { name }).catch(complain);
  };

  const remove = async (mailbox) => {
    const words = mailbox.totalEmails ? `${mailbox.name} and what is only in it (${mailbox.totalEmails} mails) will be gone for good.` : `${mailbox.name} will be gone.`;
    if (!await askWhether(`Delete ${mailbox.name}`, words, "Delete")) return;
    try {
      await set({ destroy: [mailbox.id], onDestroyRemoveEmails: true });
      if (chosen.peek() === mailbox.id) choose(mail.byRole("inbox").id);
      say(`${mailbox.name} is deleted.`);
    } catch (error) {
      complain(error);
    }
  };

  const items = (mailbox) => {
    const may = mailbox.myRights ?? {};
    return [
      may.mayCreateChild !== false && { label: "New folder in it", icon: "plus", act: () => make(mailbox) },
      !mailbox.role && may.mayRename !== false && { label: "Rename", icon: "draft", act: () => rename(mailbox) },
      !mailbox.role && mailbox.parentId && { label: "Move to the top", icon: "undo", act: () => change(mailbox.id, { parentId: null }).catch(complain) },
      !mailbox.role && may.mayDelete !== false && { label: "Delete", icon: "trash", danger: true, act: () => remove(mailbox) },
    ];
  };

  watch(() => {
    const now = chosen();
    replace(list, mail.mailboxes().map((mailbox) => h("li", {}, row(mailbox, mailbox.id === now))));
  });

  return h("nav.folders", { "aria-label": "Folders" },
    h(".folders-head", {}, h("span.who", { title: address }, address), tools), compose, list,
    h("button.folder.new-folder", { type: "button", onclick: () => make(null) }, icon("plus"), "New folder"),
    h("a.folder.new-folder", { href: "browse" }, icon("file"), "Files"));
}

export const closeFolders = () => delete document.body.dataset.folders;
export const openFolders = () => {
  document.body.dataset.folders = "open";
  document.querySelector(".folder[aria-current]")?.focus();
};
export const foldersButton = () => iconButton("menu", "Folders", openFolders, { classes: ".narrow-only" });
