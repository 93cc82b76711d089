// The beginning of the files' page: who is signed in, and which folder the address names.

import { complain } from "./dialogs.js";
import { showFiles } from "./filelist.js";
import { ask } from "./server.js";
import { signIn } from "./signin.js";

async function begin() {
  let words = "";
  for (;;) {
    try {
      const account = await ask("session");
      if (account.address !== null) {
        await showFiles(account, leave);
        return;
      }
    } catch (error) {
      words = error.message;
    }
    await signIn(words);
    words = "";
  }
}

async function leave() {
  try {
    await ask("session/close", {});
    begin();
  } catch (error) {
    complain(error);
  }
}

begin();
