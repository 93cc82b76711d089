// A conversation: its mails one below the other, those that were read folded to a line.

import { h, icon, iconButton, replace, unseen, watch } from "./core.js";
import { complain, dialog, menu, say } from "./dialogs.js";
import { saveButton } from "./filepicker.js";
import { longDate, shortDate, size } from "./format.js";
import { who } from "./mail.js";
import { address, ask } from "./server.js";

// What a frame may do: open links in windows of their own. No script, and no origin.
const SANDBOX = "allow-popups allow-popups-to-escape-sandbox";

// `current` is a cell with the id of the email whose conversation is shown; `act` are the actions on mails.
// `write` has what begins a mail: reply, replyAll, forward; each takes an email.
export function readerPane({ mail, current, act, back, tools, write }) {
  const title = h("h2", { tabIndex: -1 });
  const body = h(".conversation", {});
  const nothing = h(".nothing", {}, icon("mail"), h("p", {}, "Choose a conversation to read it."));
  const head = h("header.reader-head", {}, iconButton("back", "Back to the list", back, { classes: ".phone-only" }), title, tools);
  const pane = h("section.reader", { "aria-label": "Conversation" }, nothing);
  let shown = null;
  let last = null;

  const show = async (id) => {
    const email = mail.emails.get(id);
    if (!email) return;
    shown = id;
    title.textContent = email.subject || "(no subject)";
    replace(body, h("p.note", { role: "status" }, "Reading…"));
    replace(pane, head, body);
    body.scrollTop = 0;
    try {
      const list = await mail.conversation(email.threadId);
      if (shown !== id) return;
      const unread = list.filter((one) => !("$seen" in one.keywords));
      last = list.at(-1);
      replace(body, list.map((one) => messageCard(mail, one, write, one === last || unread.includes(one))));
      if (unread.length) {
        act.seen(unread.map((one) => one.id));
        if (list.length > 1) body.querySelector(".message.unread")?.scrollIntoView({ block: "start" });
      }
    } catch (error) {
      if (shown === id) replace(body, h("p.note.fault", { role: "alert" }, error.message));
    }
  };

  watch(() => {
    const id = current();
    unseen(() => {
      if (id === null) { shown = null; replace(pane, nothing); }
      else if (id !== shown) show(id);
    });
  });
  return { element: pane, reload: () => shown !== null && show(shown), latest: () => (shown === null ? null : last) };
}

function messageCard(mail, email, write, open) {
  const card = h("article.message", {});
  card.classList.toggle("unread", !("$seen" in email.keywords));
  const content = h(".message-body", {});
  const names = who(email.from) || "(nobody)";
  const fold = h("button.message-head", { type: "button", "aria-expanded": String(open) },
    h("span.initial", { "aria-hidden": "true" }, (names.match(/[\p{L}\p{N}]/u)?.[0] ?? "?").toUpperCase()),
    h("span.message-who", {},
      h("span.names", {}, names),
      h("span.quiet.message-more", {}, open ? `to ${who(email.to) || "nobody"}` : email.preview)),
    h("time.quiet", { dateTime: email.receivedAt, title: longDate(email.receivedAt) }, shortDate(email.receivedAt)));
  const more = iconButton("more", "More about this mail", () => menu(more, items(mail, email, card, write)), { "aria-haspopup": "menu", "aria-expanded": "false" });
  const toggle = (opened) => {
    card.classList.toggle("open", opened);
    fold.setAttribute("aria-expanded", String(opened));
    fold.querySelector(".message-more").textContent = opened ? `to ${who(email.to) || "nobody"}` : email.preview;
    content.hidden = !opened;
    if (opened && !content.firstChild) fillBody(mail, email, content, write);
  };
  fold.addEventListener("click", () => toggle(content.hidden));
  card.append(h(".message-top", {}, fold, more), content);
  toggle(open);
  return card;
}

function items(mail, email, card, write) {
  return [
    write && { label: "Reply", icon: "reply", act: () => write.reply(email) },
    write && { label: "Reply to all", icon: "replyall", act: () => write.replyAll(email) },
    write && { label: "Forward", icon: "forward", act: () => write.forward(email) },
    write && "-",
    { label: "Details", icon: "user", act: () => showDetails(email) },
    { label: "Print", icon: "print", act: () => print(card) },
    { label: "Source", icon: "source", act: () => showSource(mail, email) },
    { label: "Download", icon: "download", act: () => follow(mail.client.download(email.blobId, "message.eml", "message/rfc822"), "message.eml") },
  ];
}

function fillBody(mail, email, content, write) {
  const html = email.htmlBody.some((part) => part.type === "text/html");
  const files = email.attachments.filter((part) => !(part.cid && html && part.disposition !== "attachment" && part.type.startsWith("image/")));
  const text = h(".message-text", {});
  const several = [...(email.to ?? []), ...(email.cc ?? [])].length > 1;
  const answers = write && h(".answers", {},
    h("button.plain", { type: "button", onclick: () => write.reply(email) }, icon("reply"), "Reply"),
    several && h("button.plain", { type: "button", onclick: () => write.replyAll(email) }, icon("replyall"), "Reply to all"),
    h("button.plain", { type: "button", onclick: () => write.forward(email) }, icon("forward"), "Forward"));
  replace(content, text, files.length > 0 && attachments(mail, files), answers);
  if (html) showHtml(email, text);
  else showText(email, text);
}

function showText(email, place) {
  for (const part of email.textBody) {
    const value = email.bodyValues[part.partId];
    if (!value) continue;
    place.append(h("pre.text", {}, linked(value.value)));
    if (value.isTruncated) place.append(h("p.quiet", {}, "The mail goes on: download it to read the rest."));
  }
  if (!place.firstChild) place.append(h("p.quiet", {}, "This mail has no text."));
}

async function showHtml(email, place) {
  const url = (pictures) => address(`message/${encodeURIComponent(email.id)}${pictures ? "?pictures=1" : ""}`).href;
  const frame = h("iframe.mail-frame", { title: `Mail from ${who(email.from)}`, src: url(false) });
  frame.setAttribute("sandbox", SANDBOX);
  frame.setAttribute("referrerpolicy", "no-referrer");
  place.append(frame);
  try {
    const about = await ask(`message/${encodeURIComponent(email.id)}?about=1`);
    if (!about.html) { frame.remove(); showText(email, place); return; }
    if (!about.remote) return;
    const bar = h(".pictures", { role: "status" }, h("span", {}, "Pictures from elsewhere are not shown: they would tell their sender that you read this."),
      h("button.plain", { type: "button", onclick: () => { bar.remove(); frame.src = url(true); } }, "Show pictures"));
    place.prepend(bar);
  } catch (error) {
    complain(error);
  }
}

function attachments(mail, files) {
  return h("ul.attachments", { "aria-label": "Attachments" }, files.map((part) => {
    const name = part.name || "attachment";
    const url = mail.client.download(part.blobId, name, part.type);
    const picture = /^image\/(png|gif|jpeg|webp)$/.test(part.type) && part.size < 5000000;
    return h("li", {}, h("a.attachment", { href: url, download: name },
      picture ? h("img", { src: url, alt: "", loading: "lazy" }) : icon("file"),
      h("span", {}, h("span.attachment-name", {}, name), h("span.quiet", {}, size(part.size)))),
    saveButton(url, name));
  }));
}

function showDetails(email) {
  const row = (label, value) => value && [h("dt", {}, label), h("dd", {}, value)];
  const full = (list) => (list ?? []).map((one) => (one.name ? `${one.name} <${one.email}>` : one.email)).join(", ");
  dialog("Details", h("dl.details", {}, row("From", full(email.from)), row("Reply to", full(email.replyTo)), row("To", full(email.to)),
    row("Cc", full(email.cc)), row("Bcc", full(email.bcc)), row("Sent", email.sentAt && longDate(email.sentAt)),
    row("Received", longDate(email.receivedAt)), row("Size", size(email.size)), row("Message-ID", (email.messageId ?? []).join(" "))));
}

async function showSource(mail, email) {
  try {
    const response = await fetch(mail.client.download(email.blobId, "message.eml", "text/plain"), { credentials: "same-origin" });
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    dialog("Source", h("pre.source", {}, (await response.text()).slice(0, 1000000)), { wide: true });
  } catch (error) {
    complain(error);
  }
}

function follow(url, name) {
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}

// This one mail and nothing else of the page. A frame is printed by itself: its page alone knows how long it is.
function print(card) {
  const frame = card.querySelector("iframe");
  if (frame) {
    open(frame.src, "_blank", "noopener");
    say("The mail is in a window of its own: print it there.");
    return;
  }
  card.classList.add("printed");
  document.body.classList.add("printing");
  addEventListener("afterprint", () => { card.classList.remove("printed"); document.body.classList.remove("printing"); }, { once: true });
  window.print();
}

// Text with its addresses as links; lines that quote in another colour. What stands behind a link is what it says.
export function linked(text) {
  const made = [];
  for (const line of text.replace(/\r\n/g, "\n").split(/(?<=\n)/)) {
    const pieces = line.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/g).map((piece, at) =>
      at % 2 ? h("a", { href: piece, target: "_blank", rel: "noopener noreferrer nofollow" }, piece) : piece);
    const depth = /^(?:> ?)*/.exec(line)[0].replace(/ /g, "").length;
    made.push(depth > 0 ? h("span.quoted", { "data-depth": Math.min(depth, 3) }, pieces) : pieces);
  }
  return made;
}
