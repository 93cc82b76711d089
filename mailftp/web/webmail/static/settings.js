// The settings: how the page looks, and the account.

import { append, h } from "./core.js";
import { appPasswordSection, identitySection, passwordSection, sessionSection } from "./account.js";
import { complain, dialog } from "./dialogs.js";
import { HOLDS, readHold, setHold } from "./drafts.js";
import { showShortcuts } from "./shortcuts.js";

// The browser's own wish is "auto". Kept in this browser alone; a browser without storage forgets it.
export function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { return; }
}

export function readTheme() {
  try { return localStorage.getItem("theme") ?? "auto"; } catch { return "auto"; }
}

export function settingsDialog({ client, account, leave }) {
  const now = readTheme();
  const theme = h("select", { id: "theme", onchange: () => setTheme(theme.value) },
    [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]].map(([value, words]) => h("option", { value, selected: value === now }, words)));
  const hold = h("select", { id: "hold", onchange: () => setHold(Number(hold.value)) },
    HOLDS.map((seconds) => h("option", { value: seconds, selected: seconds === readHold() }, seconds ? `${seconds} seconds` : "Not at all")));
  const own = h(".sections", {});
  if (client.sends) identitySection(client).then((sections) => append(own, sections), complain);
  const out = () => { box.close(); leave(); };
  const box = dialog("Settings", h(".sections", {},
    h("section.fields", {}, h("h3", {}, account.address),
      h(".actions.start", {}, h("button.plain", { type: "button", onclick: out }, "Sign out"),
        h("button.plain", { type: "button", onclick: showShortcuts }, "Keyboard"))),
    h("section.fields", {}, h("label", { htmlFor: "theme" }, "Colours"), theme,
      client.sends && [h("label", { htmlFor: "hold" }, "How long sending can be undone"), hold]),
    own,
    sessionSection(),
    account.changesPassword && appPasswordSection(),
    account.changesPassword && passwordSection(account.address)));
  return box;
}
