// The beginning: who is signed in, and what to show.

import { h, iconButton, replace } from "./core.js";
import { passwordSection, sessionSection } from "./account.js";
import { complain } from "./dialogs.js";
import { ask } from "./server.js";
import { signIn } from "./signin.js";

async function begin() {
  let account = { address: null };
  let words = "";
  for (;;) {
    try {
      account = await ask("session");
      if (account.address !== null) break;
    } catch (error) {
      words = error.message;
    }
    await signIn(words);
    words = "";
  }
  document.title = account.address;
  const leave = async () => {
    try {
      await ask("session/close", {});
      begin();
    } catch (error) {
      complain(error);
    }
  };
  replace(document.body,
    h("header.bar", {}, h("h1", {}, account.address),
      h("button.plain", { type: "button", onclick: leave }, "Sign out")),
    h("main.page", {}, account.changesPassword && passwordSection(account.address), sessionSection()));
}

begin();
