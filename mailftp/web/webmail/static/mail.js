// What the page knows of the account: its mailboxes, the mails that were read, and what is shown of them.

import { cell } from "./core.js";

const ROWS = ["id", "threadId", "mailboxIds", "keywords", "from", "to", "subject", "receivedAt", "preview", "hasAttachment", "size"];
const ORDER = ["inbox", "drafts", "sent", "archive", "junk", "trash"];
// Rows that one request asks for.
const PIECE = 60;
const REMEMBERED = 5000;

export class Mail {
  constructor(client) {
    this.client = client;
    this.mailboxes = cell([]);
    // Email id -> what a row shows of it.
    this.emails = new Map();
    // Counts up with each change of an email that is known; rows watch it.
    this.changed = cell(0);
    this.state = {};
  }

  async start() {
    await this.readMailboxes();
  }

  async readMailboxes() {
    const told = await this.client.call("Mailbox/get", { ids: null });
    this.state.Mailbox = told.state;
    this.mailboxes.set(sorted(told.list));
  }

  byRole(role) {
    return this.mailboxes.peek().find((mailbox) => mailbox.role === role);
  }

  byId(id) {
    return this.mailboxes.peek().find((mailbox) => mailbox.id === id);
  }

  remember(list) {
    for (const email of list) {
      this.emails.delete(email.id);
      this.emails.set(email.id, email);
    }
    for (const id of this.emails.keys()) {
      if (this.emails.size <= REMEMBERED) break;
      this.emails.delete(id);
    }
    this.changed.change((number) => number + 1);
  }

  // Reads what changed since the page last knew; `false` where nobody can say: then everything is read again.
  async follow() {
    await this.readMailboxes();
    if (!this.state.Email) return false;
    try {
      const changes = await this.client.call("Email/changes", { sinceState: this.state.Email, maxChanges: 500 });
      const known = changes.updated.filter((id) => this.emails.has(id));
      for (const id of changes.destroyed) this.emails.delete(id);
      this.state.Email = changes.newState;
      if (known.length) this.remember((await this.client.call("Email/get", { ids: known, properties: ROWS })).list);
      return !changes.hasMoreChanges;
    } catch (error) {
      if (error.type !== "cannotCalculateChanges") throw error;
      this.state.Email = undefined;
      return false;
    }
  }

  // The mails of a conversation, oldest first, with their texts.
  async conversation(threadId) {
    const thread = this.client.call("Thread/get", { ids: [threadId] });
    const emails = this.client.call("Email/get", {
      "#ids": thread.ref("/list/*/emailIds"),
      properties: [...ROWS, "blobId", "messageId", "inReplyTo", "references", "cc", "bcc", "replyTo", "sentAt",
        "textBody", "htmlBody", "attachments", "bodyValues"],
      bodyProperties: ["partId", "blobId", "size", "name", "type", "charset", "disposition", "cid"],
      fetchTextBodyValues: true,
      fetchHTMLBodyValues: true,
      maxBodyValueBytes: 400000,
    });
    await thread;
    const { list, state } = await emails;
    this.state.Email ??= state;
    this.remember(list.map((email) => Object.fromEntries(ROWS.map((name) => [name, email[name]]))));
    return list.sort((a, b) => (a.receivedAt < b.receivedAt ? -1 : 1));
  }
}

// A list of conversations, of which those that are looked at are read.
export class Listing {
  constructor(mail, filter, text) {
    this.mail = mail;
    this.filter = filter;
    // What is sought, for the snippets.
    this.text = text;
    this.total = cell(null);
    this.ids = [];
    this.snippets = new Map();
    this.filled = cell(0);
    this.fault = cell(null);
    this.asked = new Set();
    this.round = 0;
  }

  // Sees to it that the rows from one position to another are there, or on their way.
  need(from, to) {
    for (let piece = Math.floor(from / PIECE); piece <= Math.floor(Math.max(from, to - 1) / PIECE); piece += 1) {
      if (this.asked.has(piece)) continue;
      this.asked.add(piece);
      this.#read(piece).catch((error) => {
        this.asked.delete(piece);
        this.fault.set(error);
      });
    }
  }

  async #read(piece) {
    const round = this.round;
    const { client } = this.mail;
    const query = client.call("Email/query", {
      filter: this.filter,
      sort: [{ property: "receivedAt", isAscending: false }],
      collapseThreads: true,
      position: piece * PIECE,
      limit: PIECE,
      calculateTotal: true,
    });
    const emails = client.call("Email/get", { "#ids": query.ref("/ids"), properties: ROWS });
    const snippets = this.text ? client.call("SearchSnippet/get", { "#emailIds": query.ref("/ids"), filter: this.filter }) : null;
    snippets?.catch(() => {});
    emails.catch(() => {});
    const told = await query;
    const { list, state } = await emails;
    if (round !== this.round) return;
    this.mail.state.Email ??= state;
    this.mail.remember(list);
    for (const snippet of (await snippets?.catch(() => null))?.list ?? []) this.snippets.set(snippet.emailId, snippet);
    told.ids.forEach((id, at) => { this.ids[told.position + at] = id; });
    this.total.set(told.total ?? this.ids.length);
    this.fault.set(null);
    this.filled.change((number) => number + 1);
  }

  // Reads anew what is looked at, and forgets the rest; what is there stays until then.
  refresh(from, to) {
    this.round += 1;
    this.asked.clear();
    const kept = this.ids;
    this.ids = [];
    for (let at = Math.max(0, from - PIECE); at < to + PIECE; at += 1) if (kept[at]) this.ids[at] = kept[at];
    this.need(from, to);
  }

  // Takes mails out before the server has said so; answers what puts them back.
  take(ids) {
    const gone = new Set(ids);
    const before = this.ids.slice();
    const total = this.total.peek();
    this.ids = this.ids.filter((id) => !gone.has(id));
    const taken = before.filter((id) => gone.has(id)).length;
    this.total.set(Math.max(0, total - taken));
    this.filled.change((number) => number + 1);
    return () => {
      this.ids = before;
      this.total.set(total);
      this.filled.change((number) => number + 1);
    };
  }
}

// By role, then by order and name, each with its depth and below its parent.
export function sorted(list) {
  const children = new Map();
  for (const mailbox of list) {
    const parent = list.some((other) => other.id === mailbox.parentId) ? mailbox.parentId : null;
    children.set(parent, [...(children.get(parent) ?? []), mailbox]);
  }
  const rank = (mailbox) => { const at = ORDER.indexOf(mailbox.role); return at < 0 ? ORDER.length : at; };
  const found = [];
  const descend = (parent, depth) => {
    const here = children.get(parent) ?? [];
    here.sort((a, b) => rank(a) - rank(b) || a.sortOrder - b.sortOrder || a.name.localeCompare(b.name));
    for (const mailbox of here) {
      found.push({ ...mailbox, depth });
      descend(mailbox.id, depth + 1);
    }
  };
  descend(null, 0);
  return found;
}

export const who = (addresses) => (addresses ?? []).map((one) => one.name || one.email).join(", ");
