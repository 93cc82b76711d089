// The page of somebody who is not signed in.

import { h, replace } from "./core.js";
import { ask } from "./server.js";

// Shows it until somebody is; `words` say why it is there.
export function signIn(words = "") {
  return new Promise((resolve) => {
    const name = h("input", { id: "name", name: "username", type: "text", autocomplete: "username", required: true,
      autocapitalize: "none", spellcheck: false, inputMode: "email", maxLength: 320 });
    const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password",
      required: true, maxLength: 1024 });
    const stay = h("input", { id: "stay", type: "checkbox" });
    const fault = h("p.fault", { role: "alert" }, words);
    const button = h("button.primary", { type: "submit" }, "Sign in");
    const submit = async (event) => {
      event.preventDefault();
      fault.textContent = "";
      button.disabled = true;
      button.textContent = "Signing in…";
      try {
        await ask("session/open", { name: name.value, password: password.value, stay: stay.checked });
        resolve();
      } catch (error) {
        fault.textContent = error.message;
        password.select();
      } finally {
        button.disabled = false;
        button.textContent = "Sign in";
      }
    };
    replace(document.body, h("main.signin", {},
      h("form.card.fields", { onsubmit: submit, method: "post" },
        h("img", { src: new URL("icon.svg", import.meta.url).href, width: 48, height: 48, alt: "" }),
        h("h1", {}, "Mail"),
        h("p.quiet", {}, location.hostname),
        h("label", { htmlFor: "name" }, "Address"), name,
        h("label", { htmlFor: "password" }, "Password"), password,
        h("label.check", { htmlFor: "stay" }, stay, h("span", {}, "Stay signed in on this device")),
        fault, button)));
    name.focus();
  });
}
