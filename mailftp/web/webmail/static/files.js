// The files' interface (files.openapi.json), and uploads that go on where they were cut.

import { address, Refused } from "./server.js";

// What one request of a large upload brings: so much is lost at most when it breaks off.
const PART = 8 * 1024 * 1024;
const MARK = { "X-Requested-With": "mailftp" };

export const place = (path) => address(`files${path}`);

// "/a/" and a name: "/a/name", escaped.
export const inside = (folder, name, isFolder = false) => `${folder}${encodeURIComponent(name)}${isFolder ? "/" : ""}`;

export const parent = (path) => path.replace(/[^/]*\/?$/, "");

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(place(path), { credentials: "same-origin", ...options, headers: { ...MARK, ...options.headers } });
  } catch {
    throw new Refused(0, "The server does not answer. Is there a connection?");
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Refused(response.status, told.detail ?? `The server answered ${response.status}.`);
  }
  return response;
}

export const list = async (folder) => (await (await request(folder)).json()).entries;
export const facts = async (path) => (await request(`${path}?facts`)).json();
export const room = async () => (await (await request("/?room")).json()).room;
export const make = (path) => command(path, { do: "make" });
export const rename = (path, to) => command(path, { do: "rename", to });
export const remove = (path) => request(path.endsWith("/") ? `${path}?with-all=yes` : path, { method: "DELETE" });

const command = (path, what) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) });

// The octets of a file, or its first ones.
export async function read(path, most) {
  const response = await request(path, most ? { headers: { Range: `bytes=0-${most - 1}` } } : {});
  return response.arrayBuffer();
}

// What was begun of a file is remembered by its path, so that after a reload the same file, chosen again, goes on.
const key = (path) => `upload:${path}`;
const sign = (file) => `${file.size}:${file.lastModified}`;

async function arrived(path, file) {
  if (localStorage.getItem(key(path)) !== sign(file)) return 0;
  try {
    const there = await facts(path);
    return there.arrived !== undefined && there.arrived < file.size ? there.arrived : 0;
  } catch (error) {
    if (error.status === 404) return 0;
    throw error;
  }
}

// Sends a file; `progress(octets)` is told what has arrived. Fails with Refused: 412 where the name is taken and
// `replace` is not set, 0 when the connection is lost, and going on is a matter of calling this again.
export async function upload(path, file, { replace = false, progress = () => {}, signal } = {}) {
  let at = await arrived(path, file);
  const guard = replace || at > 0 ? {} : { "If-None-Match": "*" };
  if (file.size <= PART) {
    await put(path, file, guard, (sent) => progress(sent), signal);
  } else {
    localStorage.setItem(key(path), sign(file));
    while (at < file.size) {
      const end = Math.min(at + PART, file.size);
      const from = at;
      await put(path, file.slice(at, end), { ...guard, "Content-Range": `bytes ${at}-${end - 1}/${file.size}` },
        (sent) => progress(from + sent), signal);
      at = end;
    }
  }
  localStorage.removeItem(key(path));
  progress(file.size);
}

// fetch tells nothing of what has been sent.
function put(path, body, headers, progress, signal) {
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open("PUT", place(path));
    for (const [name, value] of Object.entries({ ...MARK, "Content-Type": "application/octet-stream", ...headers })) asked.setRequestHeader(name, value);
    asked.upload.onprogress = (event) => progress(event.loaded);
    asked.onload = () => {
      if (asked.status < 300) return resolve();
      let words = `The server answered ${asked.status}.`;
      try { words = JSON.parse(asked.responseText).detail; } catch { /* Something between answered, in words of its own. */ }
      reject(new Refused(asked.status, words));
    };
    asked.onerror = () => reject(new Refused(0, "The connection was lost."));
    asked.onabort = () => reject(new Refused(-1, "Stopped."));
    signal?.addEventListener("abort", () => asked.abort());
    asked.send(body);
  });
}
