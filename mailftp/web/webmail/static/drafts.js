// A draft: kept on the server as it is typed, and in the browser until it is there.

import { later } from "./core.js";

const KEY = "draft:";

// Seconds in which sending can be undone; kept in this browser alone.
export const HOLDS = [0, 8, 20];
const HOLD = 8;
// What the server waits longer than the page offers to undo: the ways there and back.
const SLACK = 3;

export function readHold() {
  try {
    const kept = Number(localStorage.getItem("hold") ?? HOLD);
    return HOLDS.includes(kept) ? kept : HOLD;
  } catch { return HOLD; }
}

export function setHold(seconds) {
  try { localStorage.setItem("hold", seconds); } catch { return; }
}

// Addresses as people type them: "Ann <ann@a.test>, b@b.test". Answers [{name, email}]; what has no @ comes back as
// a fault's text.
export function parseAddresses(text) {
  const found = [];
  for (const piece of text.match(/(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,;"<>])+/g) ?? []) {
    const one = piece.trim();
    if (!one) continue;
    const match = /^(?:(.*?)\s*)<\s*([^<>\s]+)\s*>$/s.exec(one);
    const email = match ? match[2] : one;
    if (!/^[^@\s]+@[^@\s]+$/.test(email)) return { fault: `${one} is no address.` };
    const name = match ? match[1].replace(/^"(.*)"$/s, "$1").replace(/\\(.)/g, "$1").trim() : null;
    found.push({ name: name || null, email });
  }
  return { list: found };
}

export const writeAddresses = (list) => (list ?? []).map(({ name, email }) =>
  (name ? `${/^[\p{L}\p{N} .'-]+$/u.test(name) ? name : `"${name.replace(/["\\]/g, "\\$&")}"`} <${email}>` : email)).join(", ");

export class Draft {
  // `read` answers what the page has of it now: {to, cc, bcc, subject, text, html, attachments, inReplyTo, references,
  // identity}. `told` hears of "kept", "keeping" or an error.
  constructor(mail, { id = null, messageId = newMessageId(), again = false, read, told }) {
    Object.assign(this, { mail, id, messageId, read, told, ended: false, dirty: false });
    // A page that went away may have kept it without hearing of it.
    this.work = again ? this.#find().catch((error) => told(error)) : Promise.resolve();
    this.soon = later(1500, () => this.keep());
  }

  // Something was typed. What a reload or a crash of the browser would lose is in its own storage at once.
  touch() {
    this.dirty = true;
    this.told("keeping");
    this.store();
    this.soon();
    this.beat ??= setInterval(() => this.store(), 20000);
  }

  // It stays there as long as somebody writes: a reload opens it again.
  store() {
    store(this.messageId, { ...this.read(), messageId: this.messageId, tab: tab(), at: Date.now() });
  }

  // Nobody writes on it; what is on the server stays.
  release() {
    clearInterval(this.beat);
    this.soon.cancel();
    forget(this.messageId);
  }

  // Keeps it on the server, one at a time; answers its email's id.
  keep() {
    this.soon.cancel();
    this.work = this.work.then(() => (this.dirty && !this.ended ? this.#write() : null)).catch((error) => {
      this.dirty = true;
      this.told(error);
      return Promise.reject(error);
    });
    const now = this.work;
    this.work = now.catch(() => {});
    return now.then(() => this.id);
  }

  // The draft of this Message-ID that the server has.
  async #find() {
    const filter = { inMailbox: this.mail.byRole("drafts").id, header: ["Message-ID", this.messageId] };
    const { ids } = await this.mail.client.call("Email/query", { filter });
    this.id = ids[0] ?? null;
    this.others = ids.slice(1);
  }

  async #write() {
    this.dirty = false;
    const now = this.read();
    const before = [this.id, ...(this.others ?? [])].filter(Boolean);
    this.others = [];
    // A mail never changes (RFC 8621 section 4): the new one takes the place of the old.
    const told = await this.mail.client.call("Email/set", { create: { draft: this.object(now) }, destroy: before });
    const failed = told.notCreated?.draft;
    if (failed) throw new Error(failed.description || `The server refused the draft: ${failed.type}.`);
    this.id = told.created.draft.id;
    if (!this.dirty) this.told("kept");
  }

  // The mail as Email/set takes it.
  object({ from, to, cc, bcc, subject, text, html, attachments, inReplyTo, references }) {
    const list = (field) => parseAddresses(field).list ?? null;
    const values = { text: { value: text } };
    if (html) values.html = { value: html };
    const object = {
      mailboxIds: { [this.mail.byRole("drafts").id]: true },
      keywords: { $draft: true, $seen: true },
      messageId: [this.messageId], from: [from], to: list(to), cc: list(cc), bcc: list(bcc), subject, inReplyTo, references,
      bodyValues: values,
      textBody: [{ partId: "text", type: "text/plain" }],
      htmlBody: html ? [{ partId: "html", type: "text/html" }] : undefined,
      attachments: attachments.map(({ blobId, type, name, cid, disposition }) => ({ blobId, type, name, cid, disposition })),
    };
    // What is empty is not there.
    return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined && value.length !== 0));
  }

  // Sends it: the mail goes from Drafts to Sent with the submission, or not at all. Answers what takes that back, or
  // null; it answers the conversation's id, and fails when the mail is on its way (RFC 8621 section 7.5).
  async send(identity) {
    this.soon.cancel();
    this.dirty = true;
    await this.keep();
    const drafts = this.mail.byRole("drafts").id, sent = this.mail.byRole("sent")?.id ?? drafts;
    const moved = (from, to, draft) => ({ [`mailboxIds/${from}`]: null, [`mailboxIds/${to}`]: true, "keywords/$draft": draft });
    const told = await this.mail.client.call("EmailSubmission/set", {
      create: { send: { emailId: this.id, identityId: identity.id, envelope: this.#envelope() } },
      onSuccessUpdateEmail: { "#send": moved(drafts, sent, null) },
    });
    const failed = told.notCreated?.send;
    if (failed) throw new Error(failed.description || `The server refused to send it: ${failed.type}.`);
    this.end();
    const { id, threadId, undoStatus } = told.created.send;
    return undoStatus === "pending" ? async () => {
      const undone = await this.mail.client.call("EmailSubmission/set", {
        update: { [id]: { undoStatus: "canceled" } }, onSuccessUpdateEmail: { [id]: moved(sent, drafts, true) },
      });
      const refused = undone.notUpdated?.[id];
      if (refused) throw new Error(`It cannot be undone: ${refused.description || refused.type}.`);
      return threadId;
    } : null;
  }

  // Undefined: as the mail says. Only an envelope says that the server is to wait (RFC 4865).
  #envelope() {
    const hold = readHold();
    if (!hold) return undefined;
    const { from, to, cc, bcc } = this.read();
    const addresses = new Set([to, cc, bcc].flatMap((field) => parseAddresses(field).list ?? []).map(({ email }) => email));
    return {
      mailFrom: { email: from.email, parameters: { HOLDFOR: String(hold + SLACK) } },
      rcptTo: [...addresses].map((email) => ({ email, parameters: null })),
    };
  }

  async discard() {
    this.end();
    await this.work;
    if (this.id) await this.mail.client.call("Email/set", { destroy: [this.id] });
  }

  end() {
    this.ended = true;
    this.release();
  }
}

// Random, and of this host; crypto.randomUUID is there over HTTPS alone.
function newMessageId() {
  const octets = [...crypto.getRandomValues(new Uint8Array(16))];
  return `${octets.map((one) => one.toString(16).padStart(2, "0")).join("")}@${location.hostname.replace(/[^\w.-]/g, "") || "localhost"}`;
}

// What the browser keeps. One without storage, or with a full one, has the server's alone.
function store(key, value) {
  try { localStorage.setItem(KEY + key, JSON.stringify(value)); } catch (error) { console.debug(error); }
}

function forget(key) {
  try { localStorage.removeItem(KEY + key); } catch (error) { console.debug(error); }
}

// This tab's name, the same after a reload.
function tab() {
  try {
    if (!sessionStorage.getItem("tab")) sessionStorage.setItem("tab", newMessageId());
    return sessionStorage.getItem("tab");
  } catch (error) {
    console.debug(error);
    return "";
  }
}

// What was being written in this tab, or in one that is no longer there; latest first.
export function unsaved() {
  const found = [];
  try {
    for (let at = 0; at < localStorage.length; at += 1) {
      const name = localStorage.key(at);
      if (!name.startsWith(KEY)) continue;
      found.push(JSON.parse(localStorage.getItem(name)));
    }
  } catch (error) {
    console.debug(error);
  }
  return found.filter((one) => one.tab === tab() || Date.now() - one.at > 60000).sort((a, b) => b.at - a.at);
}
