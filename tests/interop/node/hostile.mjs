// hostile.mjs CHROMIUM URL NAME PASSWORD < JSON: what HTML mail does in a browser.
//
// Reads {cases: [{raw, cleaned, email}]}. Some are opened as they came, which shows that the check can fail; all
// of them as the cleaner leaves them without any other wall, and as the server gives them to a frame of the page.

import { launch, open, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
let input = "";
for await (const piece of process.stdin) input += piece;
const { cases } = JSON.parse(input);

const browser = await launch(chromium);
const told = { raw: 0, cleaned: [], framed: [], headers: {} };

// Everything that a reader does without meaning it.
const stir = () => {
  for (const element of document.querySelectorAll("*")) {
    for (const event of ["mouseover", "focus", "toggle", "animationstart"]) element.dispatchEvent(new Event(event));
  }
};

const alone = await browser.newContext({ viewport: { width: 800, height: 600 } });
let html = "", fetched = [];
await alone.route("**/*", (route) => {
  const asked = route.request().url();
  if (asked === "http://case.test/") return route.fulfill({ contentType: "text/html; charset=utf-8", body: html });
  fetched.push(asked);
  return route.fulfill({ status: 404, body: "" });
});
async function runs(text) {
  const page = await alone.newPage();
  page.on("dialog", (dialog) => dialog.dismiss());
  html = `<!doctype html><title>x</title><body>${text}`;
  fetched = [];
  await page.goto("http://case.test/", { waitUntil: "load" }).catch(() => {});
  await page.evaluate(stir).catch(() => fetched.push("navigated away"));
  const ran = await page.evaluate(() => window.ran === 1).catch(() => true);
  await page.close();
  return ran || fetched.length > 0;
}
for (const one of cases.slice(0, 60).filter((_, at) => at % 6 === 0)) if (await runs(one.raw)) told.raw += 1;
// What is clean is whole: no case can hide in an element that the one before it left open.
for (let at = 0; at < cases.length; at += 20) {
  const some = cases.slice(at, at + 20);
  if (await runs(some.map((one) => `<div>${one.cleaned}</div>`).join("\n"))) told.cleaned.push(...some.map((one) => one.raw));
}
await alone.close();

const page = await open(browser, url);
await signIn(page, name, password);
await page.waitForSelector("#name", { state: "detached" });
page.faults.length = 0;
for (let at = 0; at < cases.length; at += 20) {
  const some = cases.slice(at, at + 20);
  const addresses = some.map((one) => new URL(`message/${one.email}`, url).href);
  const statuses = {};
  const hear = (response) => { statuses[response.url()] = response.status(); told.headers = response.headers(); };
  page.on("response", hear);
  await page.evaluate((all) => Promise.all(all.map((src) => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
    frame.onload = resolve;
    frame.src = src;
    document.body.append(frame);
  }))), addresses);
  page.off("response", hear);
  for (const [number, address] of addresses.entries()) {
    const frame = page.frames().find((each) => each.url() === address);
    const seen = frame && await frame.evaluate(() => ({ ran: window.ran === 1, origin: self.origin }));
    if (statuses[address] !== 200 || !frame || seen.ran || seen.origin !== "null") {
      told.framed.push({ raw: some[number].raw, status: statuses[address], seen });
    }
  }
  told.framed.push(...page.faults.splice(0));
  await page.evaluate(() => document.querySelectorAll("iframe").forEach((frame) => frame.remove()));
}
await browser.close();
console.log(JSON.stringify(told));
