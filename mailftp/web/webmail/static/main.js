// The beginning: who is signed in, and what to show.

import { h, replace } from "./core.js";
import { showApp } from "./app.js";
import { complain } from "./dialogs.js";
import { connect } from "./jmap.js";
import { ask } from "./server.js";
import { readTheme, setTheme } from "./settings.js";
import { signIn } from "./signin.js";

async function whoIsThere() {
  let words = "";
  for (;;) {
    try {
      const account = await ask("session");
      if (account.address !== null) return account;
    } catch (error) {
      words = error.message;
    }
    await signIn(words);
    words = "";
  }
}

async function begin() {
  const account = await whoIsThere();
  let app = null, client = null;
  const end = () => {
    app?.end();
    client?.end();
    delete document.body.dataset.view;
  };
  const over = () => {
    end();
    begin();
  };
  const leave = async () => {
    // First, so that nothing is asked for any more by somebody who has left.
    end();
    await ask("session/close", {}).catch(complain);
    begin();
  };
  try {
    client = await connect();
    client.onsignout = over;
    app = await showApp(client, account, leave);
  } catch (error) {
    replace(document.body, h("main.signin", {}, h(".card.fields", {}, h("h1", {}, "Mail"),
      h("p.fault", { role: "alert" }, error.message),
      h("button.primary", { type: "button", onclick: () => location.reload() }, "Try again"))));
  }
}

setTheme(readTheme());
begin();
