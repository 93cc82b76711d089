// JMAP (RFC 8620): calls that are made in one turn of the page leave in one request, and may refer to each other.

import { address, Refused } from "./server.js";

const USING = ["core", "mail", "submission", "vacationresponse"].map((name) => `urn:ietf:params:jmap:${name}`);
const MAIL = "urn:ietf:params:jmap:mail";

export class MethodError extends Error {
  constructor(told) {
    super(told.description || `The server refused: ${told.type}.`);
    this.type = told.type;
  }
}

// The session; `mail` is false where the server has none to offer.
export async function connect() {
  const session = await (await send(address(".well-known/jmap"))).json();
  return new Client(session);
}

async function send(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options,
      headers: { "X-Requested-With": "mailftp", ...options.headers } });
  } catch {
    throw new Refused(0, "The server does not answer. Is there a connection?");
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    const words = response.status === 401 ? "You are signed out." : told.detail ?? `The server answered ${response.status}.`;
    throw new Refused(response.status, words);
  }
  return response;
}

export class Client {
  #waiting = [];
  #number = 0;
  #ended = new AbortController();

  constructor(session) {
    this.session = session;
    this.sends = USING[2] in session.capabilities;
    this.accountId = session.primaryAccounts[MAIL];
    this.core = session.capabilities["urn:ietf:params:jmap:core"];
    this.using = USING.filter((name) => name in session.capabilities);
    // A proxy may be known to the server by another name than to us: what counts is the path.
    const here = (url) => new URL(new URL(url.replaceAll("{", "%7B").replaceAll("}", "%7D"), location.href).pathname
      + (url.includes("?") ? url.slice(url.indexOf("?")) : ""), location.origin).href.replaceAll("%7B", "{").replaceAll("%7D", "}");
    this.apiUrl = here(session.apiUrl);
    this.downloadUrl = here(session.downloadUrl);
    this.uploadUrl = here(session.uploadUrl);
    this.eventSourceUrl = here(session.eventSourceUrl);
    this.onsignout = () => {};
  }

  // Nothing is asked for any more; what was asked for is never answered.
  end() {
    this.#ended.abort();
  }

  // A promise of a method's response. Its `ref(path)` is what another call of this turn may take as an argument
  // whose name begins with "#" (section 3.7).
  call(name, given = {}) {
    const id = `c${(this.#number += 1)}`;
    const promise = new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) queueMicrotask(() => this.#flush());
      this.#waiting.push({ id, name, given: { accountId: this.accountId, ...given }, resolve, reject });
    });
    promise.ref = (path) => ({ resultOf: id, name, path });
    return promise;
  }

  async #flush() {
    const calls = this.#waiting.splice(0);
    const most = this.core.maxCallsInRequest ?? 16;
    // What refers to each other was called together and stays together as long as it fits.
    for (let at = 0; at < calls.length; at += most) await this.#request(calls.slice(at, at + most));
  }

  async #request(calls) {
    const { signal } = this.#ended;
    if (signal.aborted) return;
    let told;
    try {
      const body = JSON.stringify({ using: this.using, methodCalls: calls.map(({ id, name, given }) => [name, given, id]) });
      told = await (await send(this.apiUrl, { method: "POST", headers: { "Content-Type": "application/json" }, body, signal })).json();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) this.onsignout();
      for (const call of calls) call.reject(error);
      return;
    }
    const answers = new Map();
    for (const [name, answer, id] of told.methodResponses) {
      // The first; what follows under the same id was implied by it.
      if (!answers.has(id)) answers.set(id, [name, answer]);
    }
    for (const call of calls) {
      const [name, answer] = answers.get(call.id) ?? ["error", { type: "serverFail" }];
      if (name === "error") call.reject(new MethodError(answer));
      else call.resolve(answer);
    }
  }

  download(blobId, name, type) {
    const fill = { accountId: this.accountId, blobId, name: name || "file", type: type || "application/octet-stream" };
    return this.downloadUrl.replace(/\{(\w+)\}/g, (_, key) => encodeURIComponent(fill[key]));
  }

  // Uploads a file; `progress` hears of the part that is done. Answers {blobId, type, size}; `signal` ends it.
  upload(file, progress = () => {}, signal = undefined) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.uploadUrl.replace("{accountId}", encodeURIComponent(this.accountId)));
      request.setRequestHeader("X-Requested-With", "mailftp");
      request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
      request.onload = () => (request.status === 201 || request.status === 200) && request.response
        ? resolve(request.response)
        : reject(new Refused(request.status, request.response?.detail ?? `The server answered ${request.status} to ${file.name}.`));
      request.onerror = () => reject(new Refused(0, `${file.name} could not be sent: the connection broke.`));
      request.onabort = () => reject(new Refused(0, "Stopped."));
      signal?.addEventListener("abort", () => request.abort());
      request.send(file);
    });
  }

  // Hears of changes (section 7.3); answers what ends it.
  listen(types, hear) {
    const url = this.eventSourceUrl.replace("{types}", types.join(",")).replace("{closeafter}", "no").replace("{ping}", "60");
    const source = new EventSource(url);
    source.addEventListener("state", (event) => hear(JSON.parse(event.data).changed?.[this.accountId] ?? {}));
    return () => source.close();
  }
}
