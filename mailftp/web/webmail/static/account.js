// What somebody does with an account here: its password, the browsers that are signed in.

import { h, replace } from "./core.js";
import { complain, say } from "./dialogs.js";
import { browserName, longDate } from "./format.js";
import { ask } from "./server.js";

export function passwordSection(address) {
  const field = (id, autocomplete) => h("input", { id, type: "password", autocomplete, required: true, maxLength: 1024 });
  const old = field("old-password", "current-password");
  const fresh = field("new-password", "new-password");
  const again = field("again-password", "new-password");
  const fault = h("p.fault", { role: "alert" });
  const button = h("button.primary", { type: "submit" }, "Change password");
  const submit = async (event) => {
    event.preventDefault();
    fault.textContent = fresh.value === again.value ? "" : "The two new passwords differ.";
    if (fault.textContent) return;
    button.disabled = true;
    try {
      await ask("session/password", { old: old.value, new: fresh.value });
      for (const input of [old, fresh, again]) input.value = "";
      say("The password is changed. Everything else that was signed in with the old one has been signed out.");
    } catch (error) {
      fault.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };
  return h("form.fields", { onsubmit: submit, method: "post" },
    h("h3", {}, "Password"),
    // For the browser's own keeper of passwords.
    h("input", { type: "text", name: "username", autocomplete: "username", value: address, readOnly: true, hidden: true }),
    h("label", { htmlFor: old.id }, "Present password"), old,
    h("label", { htmlFor: fresh.id }, "New password, at least 8 characters"), fresh,
    h("label", { htmlFor: again.id }, "New password again"), again,
    fault, h(".actions", {}, button));
}

// The name that mails are sent under, and what stands below them.
export async function identitySection(client) {
  const { list } = await client.call("Identity/get", { ids: null });
  return list.map((identity) => {
    const name = h("input", { id: `name-${identity.id}`, type: "text", value: identity.name, autocomplete: "name", maxLength: 200 });
    const text = h("textarea", { id: `signature-${identity.id}`, value: identity.textSignature, rows: 3, maxLength: 5000 });
    const save = async (event) => {
      event.preventDefault();
      try {
        const told = await client.call("Identity/set", { update: { [identity.id]: { name: name.value.trim(), textSignature: text.value } } });
        const [failed] = Object.values(told.notUpdated ?? {});
        if (failed) throw new Error(failed.description || `The server refused: ${failed.type}.`);
        say("Saved.");
      } catch (error) {
        complain(error);
      }
    };
    return h("form.fields", { onsubmit: save }, h("h3", {}, list.length > 1 ? `Mail from ${identity.email}` : "Your mails"),
      h("label", { htmlFor: name.id }, "Your name"), name, h("label", { htmlFor: text.id }, "Signature"), text,
      h(".actions", {}, h("button.plain", { type: "submit" }, "Save")));
  });
}

export function sessionSection() {
  const list = h("ul.rows", {});
  const show = ({ sessions }) => replace(list, sessions.map((session) => h("li", {},
    h("div", {}, h("strong", {}, browserName(session.agent)), session.this ? " · this one" : "",
      h("p.quiet", {}, `${session.address || "this machine"} · last used ${longDate(session.used * 1000)}`)),
    session.this ? null : h("button.plain", { type: "button", onclick: () => end([session.id]) }, "Sign out"))),
  sessions.length > 1 && h("li", {}, h("button.plain", { type: "button",
    onclick: () => end(sessions.filter((one) => !one.this).map((one) => one.id)) }, "Sign out all others")));
  const end = (ids) => ask("session/list", { close: ids }).then(show, complain);
  ask("session/list").then(show, complain);
  return h("section.fields", {}, h("h3", {}, "Signed in"), list);
}

const PROTOCOLS = { imap: "IMAP", smtp: "SMTP", pop3: "POP3", http: "JMAP and files by HTTP", ftp: "FTP" };

// App passwords: one for each program, for what it does and no more.
export function appPasswordSection() {
  const list = h("ul.rows", {});
  const shown = h("output.secret", { hidden: true });
  const show = ({ appPasswords, password }) => {
    shown.hidden = !password;
    if (password) replace(shown, h("p", {}, "The new app password, shown this once:"), h("code", {}, password));
    if (password) shown.scrollIntoView({ block: "center" });
    replace(list, appPasswords.map((one) => h("li", {},
      h("div", {}, h("strong", {}, one.name), h("p.quiet", {},
        `${one.protocols.length ? one.protocols.map((name) => PROTOCOLS[name]).join(", ") : "everything"} · ${one.lastUsed ? `last used ${longDate(one.lastUsed * 1000)}` : "never used"}`)),
      h("button.plain", { type: "button", onclick: () => ask("session/app-passwords", { remove: one.name }).then(show, complain) }, "Revoke"))));
  };
  const name = h("input", { id: "app-name", type: "text", required: true, maxLength: 100, autocomplete: "off" });
  const own = h("input", { id: "app-own", type: "password", required: true, autocomplete: "current-password", maxLength: 1024 });
  const boxes = Object.entries(PROTOCOLS).map(([value, words]) => [value, h("input", { type: "checkbox", id: `for-${value}`, checked: value === "imap" || value === "smtp" }), words]);
  const fault = h("p.fault", { role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    const protocols = boxes.filter(([, box]) => box.checked).map(([value]) => value);
    fault.textContent = protocols.length ? "" : "What is it for?";
    if (fault.textContent) return;
    try {
      show(await ask("session/app-passwords", { name: name.value, protocols, readOnly: false, password: own.value }));
      name.value = own.value = "";
    } catch (error) {
      fault.textContent = error.message;
    }
  };
  ask("session/app-passwords").then(show, complain);
  return h("section.fields", {}, h("h3", {}, "App passwords"),
    h("p.quiet", {}, "One for each program: it can be revoked without touching the others."), list, shown,
    h("form.fields", { onsubmit: submit, method: "post" }, h("label", { htmlFor: name.id }, "Name of a new one"), name,
      boxes.map(([value, box, words]) => h("label.check", { htmlFor: `for-${value}` }, box, words)),
      h("label", { htmlFor: own.id }, "Your own password"), own, fault,
      h(".actions", {}, h("button.plain", { type: "submit" }, "Make an app password"))));
}
