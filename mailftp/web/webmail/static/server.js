// The server's own small interface beside JMAP: who is signed in, where else, and the password.

const BASE = new URL("./", document.baseURI);

export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export const address = (path) => new URL(path, BASE);

// `body` undefined: GET. Fails with Refused, whose words are for people.
export async function ask(path, body) {
  const options = { credentials: "same-origin", headers: { "X-Requested-With": "mailftp" } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address(path), options);
  } catch {
    throw new Refused(0, "The server does not answer. Is there a connection?");
  }
  let told = {};
  try {
    told = await response.json();
  } catch {
    if (response.ok) throw new Refused(response.status, "The server's answer cannot be read.");
  }
  if (!response.ok) throw new Refused(response.status, told.detail ?? `The server answered ${response.status}.`);
  return told;
}
