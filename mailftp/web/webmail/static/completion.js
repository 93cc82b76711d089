// Addresses that somebody has written to or heard from, offered while one is typed.

import { h, later, replace } from "./core.js";
import { writeAddresses } from "./drafts.js";

const OFFERED = 8;

// Reads whom the account wrote to lately; answers a function that makes a field offer what fits.
export function completions(mail) {
  const known = new Map();
  const learn = (list) => {
    for (const one of list ?? []) if (!known.has(one.email.toLowerCase())) known.set(one.email.toLowerCase(), one);
  };
  const sent = mail.byRole("sent");
  if (sent) {
    const query = mail.client.call("Email/query", { filter: { inMailbox: sent.id }, sort: [{ property: "receivedAt", isAscending: false }], limit: 200 });
    mail.client.call("Email/get", { "#ids": query.ref("/ids"), properties: ["to", "cc"] })
      .then(({ list }) => list.forEach((email) => { learn(email.to); learn(email.cc); }))
      .catch((error) => console.debug(error));
    query.catch((error) => console.debug(error));
  }
  for (const email of mail.emails.values()) { learn(email.from); learn(email.to); }

  return (input) => {
    const offers = h("datalist", { id: `known-${input.id}` });
    const offer = later(60, () => {
      // What stands before the last comma stays.
      const [, before, typed] = /^(.*[,;]\s*)?([^,;]*)$/s.exec(input.value);
      const sought = typed.trim().toLowerCase();
      const fitting = sought.length < 1 ? [] : [...known.values()]
        .filter((one) => one.email.toLowerCase().includes(sought) || (one.name ?? "").toLowerCase().includes(sought)).slice(0, OFFERED);
      replace(offers, fitting.map((one) => h("option", { value: `${before ?? ""}${writeAddresses([one])}` })));
    });
    input.addEventListener("input", offer);
    input.setAttribute("list", offers.id);
    return offers;
  };
}
