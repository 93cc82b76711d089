// What is done to mails: read, starred, moved, deleted; at once on the page, then on the server, and undone.

import { later } from "./core.js";
import { complain, say } from "./dialogs.js";
import { count } from "./format.js";
import { folderName } from "./folders.js";

export class Actions {
  constructor(mail, { listing, leave }) {
    this.mail = mail;
    this.listing = listing;
    // Called with the ids that are about to leave the list; the page goes to another conversation.
    this.leave = leave;
    // The numbers at the folders; once for several changes.
    this.count = later(250, () => mail.readMailboxes().catch(complain));
  }

  async #set(update) {
    const told = await this.mail.client.call("Email/set", { update });
    const failed = Object.entries(told.notUpdated ?? {});
    if (failed.length) throw new Error(failed[0][1].description || `The server refused: ${failed[0][1].type}.`);
    if (told.newState && this.mail.state.Email === told.oldState) this.mail.state.Email = told.newState;
    this.count();
  }

  // A keyword of mails, shown at once; taken back where the server refuses.
  async keyword(ids, name, on) {
    const before = new Map(ids.map((id) => [id, this.mail.emails.get(id)]).filter(([, email]) => email));
    this.mail.remember([...before.values()].map((email) => {
      const keywords = { ...email.keywords };
      if (on) keywords[name] = true;
      else delete keywords[name];
      return { ...email, keywords };
    }));
    try {
      await this.#set(Object.fromEntries(ids.map((id) => [id, { [`keywords/${name}`]: on || null }])));
    } catch (error) {
      this.mail.remember([...before.values()]);
      throw error;
    }
  }

  seen(ids, on = true) {
    return this.keyword(ids, "$seen", on).catch(complain);
  }

  star(ids) {
    const on = ids.some((id) => !("$flagged" in (this.mail.emails.get(id)?.keywords ?? {})));
    return this.keyword(ids, "$flagged", on).catch(complain);
  }

  // Whole conversations, as far as they are in the mailbox that is shown.
  async #conversations(ids, from) {
    const threads = [...new Set(ids.map((id) => this.mail.emails.get(id)?.threadId).filter(Boolean))];
    const thread = this.mail.client.call("Thread/get", { ids: threads });
    const emails = this.mail.client.call("Email/get", { "#ids": thread.ref("/list/*/emailIds"), properties: ["id", "mailboxIds"] });
    await thread;
    return (await emails).list.filter((email) => !from || from in email.mailboxIds);
  }

  async move(ids, target, words) {
    const from = this.listing.peek()?.filter.inMailbox;
    if (!ids.length || !target || target.id === from) return;
    this.leave(ids);
    const back = this.listing.peek().take(ids);
    try {
      const emails = await this.#conversations(ids, from);
      await this.#set(Object.fromEntries(emails.map((email) => [email.id, { mailboxIds: { [target.id]: true } }])));
      const undo = async () => {
        try {
          await this.#set(Object.fromEntries(emails.map((email) => [email.id, { mailboxIds: email.mailboxIds }])));
          back();
        } catch (error) {
          complain(error);
        }
      };
      say(words ?? `${count(ids.length, "conversation")} moved to ${folderName(target)}.`, { action: "Undo", act: undo });
    } catch (error) {
      back();
      complain(error);
    }
  }

  archive(ids) {
    return this.move(ids, this.mail.byRole("archive"), `${count(ids.length, "conversation")} archived.`);
  }

  junk(ids) {
    return this.move(ids, this.mail.byRole("junk"), `${count(ids.length, "conversation")} moved to Junk.`);
  }

  // To the trash; from there for good.
  async remove(ids, askWhether) {
    const trash = this.mail.byRole("trash");
    const from = this.listing.peek()?.filter.inMailbox;
    if (trash && from !== trash.id) return this.move(ids, trash, `${count(ids.length, "conversation")} moved to Trash.`);
    if (!await askWhether("Delete for good", `${count(ids.length, "conversation")} will be gone for good.`, "Delete")) return;
    this.leave(ids);
    const back = this.listing.peek().take(ids);
    try {
      const emails = await this.#conversations(ids, from);
      const told = await this.mail.client.call("Email/set", { destroy: emails.map((email) => email.id) });
      const [failed] = Object.values(told.notDestroyed ?? {});
      if (failed) throw new Error(failed.description || `The server refused: ${failed.type}.`);
      this.count();
    } catch (error) {
      back();
      complain(error);
    }
  }
}
