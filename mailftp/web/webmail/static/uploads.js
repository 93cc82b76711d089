// Uploads under way, one after the other, each with its progress.

import { h, iconButton } from "./core.js";
import { askWhether } from "./dialogs.js";
import { inside, upload } from "./files.js";
import { size } from "./format.js";

// How often a connection that was lost is tried again before somebody has to say so, and the seconds between.
const TRIES = [1, 3, 10];

// `done(folder)` is told when a file is there.
export function uploads(done) {
  const element = h("ul.uploads", { "aria-label": "Uploads" });
  const queue = [];
  let busy = false;

  async function go() {
    if (busy) return;
    busy = true;
    while (queue.length) await queue.shift()();
    busy = false;
  }

  // Files dropped or chosen, into a folder.
  function add(folder, files) {
    for (const file of files) {
      const one = row(file, () => queue.push(() => send(folder, file, one)) && go());
      element.append(one.element);
      queue.push(() => send(folder, file, one));
    }
    return go();
  }

  async function send(folder, file, one, replace = false) {
    if (one.stopped.signal.aborted) return;
    const path = inside(folder, file.name);
    one.begin();
    for (let tries = 0; ; tries += 1) {
      try {
        await upload(path, file, { replace, progress: one.progress, signal: one.stopped.signal });
        one.element.remove();
        done(folder);
        return;
      } catch (error) {
        if (error.status === 412 && !replace) {
          if (await askWhether("Replace the file?", `There is a file “${file.name}” already.`, "Replace")) replace = true;
          else return one.element.remove();
        } else if (error.status === 0 && tries < TRIES.length) {
          one.say("The connection was lost; trying again…");
          await new Promise((resolve) => setTimeout(resolve, TRIES[tries] * 1000));
        } else {
          return one.failed(error);
        }
      }
    }
  }

  return { element, add, busy: () => busy };
}

function row(file, again) {
  const bar = h("progress", { max: Math.max(file.size, 1), value: 0, "aria-label": `Upload of ${file.name}` });
  const words = h("span.quiet", { role: "status" }, `waiting, ${size(file.size)}`);
  const stopped = new AbortController();
  const retry = h("button.plain.small", { type: "button", hidden: true, onclick: () => { retry.hidden = true; again(); } }, "Go on");
  const element = h("li", {}, h(".upload-name", {}, h("strong", {}, file.name), words), bar, retry,
    iconButton("close", `Stop the upload of ${file.name}`, () => { stopped.abort(); element.remove(); }));
  return {
    element, stopped,
    begin: () => { words.textContent = size(file.size); },
    progress: (sent) => { bar.value = sent; words.textContent = `${size(sent)} of ${size(file.size)}`; },
    say: (text) => { words.textContent = text; },
    failed: (error) => { if (error.status !== -1) { words.textContent = error.message; retry.hidden = false; } },
  };
}
