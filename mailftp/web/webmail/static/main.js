// The beginning: who is signed in, and what to show.

import { h, iconButton, replace } from "./core.js";
import { passwordSection, sessionSection } from "./account.js";
import { complain } from "./dialogs.js";
import { ask } from "./server.js";
import { signIn } from "./signin.js";

async function begin(words = "") {
  let account = null;
  while (account === null) {
    try {
      account = await ask("session");
    } catch (error) {
      await signIn(error.status === 401 ? words : error.message);
    }
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
    h("header.bar", {}, h("h1", {}, account.address), iconButton("close", "Sign out", leave)),
    h("main.page", {}, account.changesPassword && passwordSection(), sessionSection()));
}

begin();
