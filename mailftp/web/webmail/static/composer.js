// Writing a mail.

import { h, icon, iconButton, replace } from "./core.js";
import { completions } from "./completion.js";
import { askWhether, complain, say } from "./dialogs.js";
import { Draft, parseAddresses, readHold, writeAddresses } from "./drafts.js";
import { fromHtml, lines, makeEditor, quoted, roughText } from "./editor.js";
import { chooseFiles } from "./filepicker.js";
import { longDate, size } from "./format.js";
import { who } from "./mail.js";

const MOST = 50000000;

// Opens the composer with what it begins with: {to, cc, bcc, subject, blocks, attachments, inReplyTo, references};
// `again` is true of what was typed before.
export async function compose(mail, begin = {}) {
  const { list: identities } = await mail.client.call("Identity/get", { ids: null });
  const open = document.querySelector(".composer");
  if (open) { open.querySelector(".editor").focus(); return; }
  let identity = identities.find((one) => one.email === begin.from?.email) ?? identities[0];
  const attached = [...(begin.attachments ?? [])];
  const uploads = new Set();
  const field = (id, value, label) => h("input", { type: "text", id, value: value ?? "", "aria-label": label, autocomplete: "off", oninput: () => draft.touch() });
  const to = field("to", begin.to, "To"), cc = field("cc", begin.cc, "Cc"), bcc = field("bcc", begin.bcc, "Bcc");
  const subject = field("subject", begin.subject, "Subject");
  subject.maxLength = 900;
  const state = h("span.quiet", { role: "status" });
  const fault = h("p.fault", { role: "alert" });
  const signature = begin.again || !identity.textSignature ? [] : [h("div", {}, h("br", {})), ...lines(`-- \n${identity.textSignature}`)];
  const blocks = begin.again ? begin.blocks : [h("div", {}, h("br", {})), ...signature, ...(begin.blocks ?? [])];
  const editor = makeEditor({ blocks, changed: () => draft.touch(), dropped: (files) => add(files) });

  const draft = new Draft(mail, { id: begin.id, messageId: begin.messageId, again: begin.again && !begin.id, told: (news) => {
    state.textContent = news === "kept" ? "Kept in Drafts" : news === "keeping" ? "Keeping…" : `Not kept: ${news.message}`;
  }, read: () => ({
    from: { name: identity.name || null, email: identity.email }, to: to.value, cc: cc.value, bcc: bcc.value, subject: subject.value,
    text: editor.text(), html: editor.html(), attachments: attached, inReplyTo: begin.inReplyTo, references: begin.references,
  }) });

  const from = h("select", { id: "from", "aria-label": "From", onchange: () => { identity = identities[from.selectedIndex]; draft.touch(); } },
    identities.map((one) => h("option", { selected: one === identity }, one.name ? `${one.name} <${one.email}>` : one.email)));
  const row = (label, input) => h(".line", {}, h("label", { htmlFor: input.id }, label), input);
  const copies = h(".copies", { hidden: !cc.value && !bcc.value }, row("Cc", cc), row("Bcc", bcc));
  const files = h("ul.attachments", { "aria-label": "Attachments" });
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files", onchange: () => { add([...picker.files]); picker.value = ""; } });

  const showFiles = () => replace(files, attached.map((part) => h("li.attachment", {}, icon("file"),
    h("span", {}, h("span.attachment-name", {}, part.name), h("span.quiet", {}, size(part.size))),
    iconButton("close", `Remove ${part.name}`, () => { attached.splice(attached.indexOf(part), 1); showFiles(); draft.touch(); }))),
  [...uploads].map((one) => one.element));

  const add = (list) => {
    for (const file of list) {
      if (file.size > MOST) { complain(new Error(`${file.name} is larger than ${size(MOST)}.`)); continue; }
      const stop = new AbortController();
      const bar = h("progress", { max: 1, value: 0, "aria-label": `${file.name} is being sent` });
      const one = { element: h("li.attachment", {}, icon("file"), h("span", {}, h("span.attachment-name", {}, file.name), bar),
        iconButton("close", `Stop ${file.name}`, () => stop.abort())) };
      uploads.add(one);
      mail.client.upload(file, (part) => { bar.value = part; }, stop.signal).then((told) => {
        attached.push({ blobId: told.blobId, type: told.type, name: file.name, size: told.size, disposition: "attachment" });
        draft.touch();
      }).catch(complain).finally(() => { uploads.delete(one); showFiles(); });
    }
    showFiles();
  };

  const tellOf = (on) => begin.of && mail.client.call("Email/set", { update: { [begin.of.id]: { [`keywords/${begin.of.keyword}`]: on || null } } });
  const undo = async (cancel) => {
    const list = await mail.conversation(await cancel());
    await tellOf(false);
    // Somebody who writes on another one meanwhile is left alone.
    if (document.querySelector(".composer")) say("It was not sent: it is in Drafts.");
    else await compose(mail, { ...draftAgain(list.find((email) => email.id === draft.id)), title: begin.title, of: begin.of });
  };
  const send = async () => {
    const lists = [to, cc, bcc].map((input) => parseAddresses(input.value));
    const wrong = lists.find((list) => list.fault);
    fault.textContent = wrong?.fault ?? (lists.every((list) => list.list.length === 0) ? "To whom?" : uploads.size ? "Files are still being sent." : "");
    if (fault.textContent) { to.focus(); return; }
    if (!subject.value.trim() && !await askWhether("No subject", "Send it without a subject?", "Send")) return;
    button.disabled = true;
    try {
      const cancel = await draft.send(identity);
      close();
      say("Sent.", cancel ? { action: "Undo", act: () => undo(cancel).catch(complain), seconds: readHold() } : {});
      // The mail that this answers says so from now on.
      await tellOf(true);
    } catch (error) {
      fault.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };
  const close = () => box.remove();
  const away = async () => {
    try {
      await draft.keep();
      draft.release();
      close();
    } catch (error) {
      complain(error);
    }
  };
  const discard = async () => {
    if (!await askWhether("Discard", "What you wrote will be gone.", "Discard")) return;
    close();
    await draft.discard().catch(complain);
  };
  const button = h("button.primary", { type: "button", onclick: send }, icon("send"), "Send");
  const box = h("section.composer", { role: "dialog", "aria-label": "New mail" },
    h("header", {}, h("h2", {}, begin.title ?? "New mail"), state, iconButton("close", "Close and keep the draft", away)),
    h(".composer-head", {}, identities.length > 1 && row("From", from), h(".line", {}, h("label", { htmlFor: "to" }, "To"), to,
      h("button.plain.small", { type: "button", onclick: (event) => { copies.hidden = false; event.target.remove(); cc.focus(); }, hidden: !copies.hidden }, "Cc Bcc")),
    copies, row("Subject", subject)),
    editor.area, files, fault,
    h("footer", {}, button, editor.tools, iconButton("attach", "Attach files", () => picker.click()), picker,
      iconButton("folder", "Attach from your files", () => chooseFiles().then(add).catch(complain)),
      iconButton("trash", "Discard", discard)));
  box.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); box.classList.add("dropping"); } });
  box.addEventListener("dragleave", () => box.classList.remove("dropping"));
  box.addEventListener("drop", (event) => {
    box.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
    else if (event.key === "Escape") away();
    else return;
    event.stopPropagation();
  });
  const complete = completions(mail);
  box.append(...[to, cc, bcc].map(complete));
  document.body.append(box);
  showFiles();
  (to.value ? editor.area : to).focus();
}

// What a mail says, as text.
function textOf(email) {
  return email.textBody.map((part) => {
    const value = email.bodyValues[part.partId]?.value ?? "";
    return part.type === "text/html" ? roughText(value) : value;
  }).join("\n").trimEnd();
}

const again = (prefix, subject) => (new RegExp(`^${prefix}:`, "i").test(subject ?? "") ? subject : `${prefix}: ${subject ?? ""}`);

// What sending sets, and undoing takes away: not what was there before.
const markOf = ({ id, keywords }, keyword) => (keyword in keywords ? undefined : { id, keyword });

// An answer: to whom it came from, or to everybody of it.
export function replyTo(email, own, all) {
  const others = (list) => (list ?? []).filter((one) => one.email.toLowerCase() !== own.toLowerCase());
  const source = email.replyTo?.length ? email.replyTo : email.from;
  const mine = (email.from ?? []).some((one) => one.email.toLowerCase() === own.toLowerCase());
  const to = mine ? email.to : source;
  return {
    title: "Reply", of: markOf(email, "$answered"), to: writeAddresses(all && !mine ? [...(to ?? []), ...others(email.to)] : to), cc: all ? writeAddresses(others(email.cc)) : "",
    subject: again("Re", email.subject), inReplyTo: email.messageId ?? undefined,
    references: [...(email.references ?? email.inReplyTo ?? []), ...(email.messageId ?? [])],
    blocks: [h("div", {}, h("br", {})), h("div", {}, `On ${longDate(email.sentAt ?? email.receivedAt)}, ${who(email.from)} wrote:`), quoted(textOf(email))],
  };
}

export function forwarded(email) {
  const head = [`From: ${writeAddresses(email.from)}`, `Date: ${longDate(email.sentAt ?? email.receivedAt)}`, `Subject: ${email.subject ?? ""}`, `To: ${writeAddresses(email.to)}`];
  return {
    title: "Forward", of: markOf(email, "$forwarded"), subject: again("Fwd", email.subject),
    attachments: email.attachments.map(({ blobId, type, name, size: octets }) => ({ blobId, type, name: name ?? "attachment", size: octets, disposition: "attachment" })),
    blocks: [h("div", {}, h("br", {})), h("div", {}, "---------- Forwarded mail ----------"), ...lines(`${head.join("\n")}\n\n${textOf(email)}`)],
  };
}

// A draft, from the server or from what the browser kept.
export const draftAgain = (email) => ({
  title: "Draft", again: true, id: email.id, messageId: email.messageId?.[0], from: email.from?.[0], to: writeAddresses(email.to), cc: writeAddresses(email.cc), bcc: writeAddresses(email.bcc),
  subject: email.subject ?? "", inReplyTo: email.inReplyTo ?? undefined, references: email.references ?? undefined,
  attachments: email.attachments.map(({ blobId, type, name, size: octets, cid, disposition }) => ({ blobId, type, name: name ?? "attachment", size: octets, cid, disposition })),
  blocks: ownBlocks(email),
});

// Of a draft: its formats, as far as they are ours.
function ownBlocks(email) {
  const html = email.htmlBody.filter((part) => part.type === "text/html").map((part) => email.bodyValues[part.partId]?.value ?? "").join("");
  return html ? fromHtml(html) : lines(textOf(email));
}

export const unsavedAgain = (kept) => ({ ...kept, title: "Draft", again: true, blocks: fromHtml(kept.html ?? "") });
