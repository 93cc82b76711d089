// prefix.mjs CHROMIUM URL NAME PASSWORD < {"taken": URL}: mail and files under a path of a proxy, and a look at them
// by a proxy that takes the path away. Tells what went wrong in the pages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { DESKTOP, last, launch, open, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const { taken } = JSON.parse(readFileSync(0, "utf-8"));
const { hostname, pathname } = new URL(url);
const browser = await launch(chromium, [`--host-resolver-rules=MAP ${hostname} 127.0.0.1`]);

// Signed in, with an HTML mail that is read.
async function read(at) {
  const page = await open(browser, at, { viewport: DESKTOP });
  // All that is asked for is below the prefix.
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.hostname === hostname && !asked.pathname.startsWith(pathname)) page.faults.push(`beside the prefix: ${asked.href}`);
  });
  await signIn(page, name, password);
  await page.locator(".row", { hasText: "Summer programme" }).click();
  const frame = page.frameLocator("iframe.mail-frame");
  await frame.locator("img[alt=square]").waitFor();
  await frame.getByText("Only this week.").waitFor();
  const [cookie] = await page.context().cookies(at);
  assert.deepEqual({ path: cookie.path, secure: cookie.secure, httpOnly: cookie.httpOnly }, { path: pathname, secure: true, httpOnly: true });
  return page;
}

async function use() {
  const page = await read(url);
  await page.evaluate(() => localStorage.setItem("hold", "0"));
  await page.click(".compose");
  await page.fill("#to", name);
  await page.fill("#subject", "Behind a proxy");
  await page.locator(".composer input[type=file]").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("four") });
  await page.locator(".attachment", { hasText: "4 bytes" }).waitFor();
  await page.click(".composer .primary");
  // It comes by itself: the stream of changes passes the proxy.
  await page.locator(".row", { hasText: "Behind a proxy" }).first().click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".message .attachment", { hasText: "notes.txt" }).click()]);
  assert.equal(await download.failure(), null);

  await page.locator("a.folder", { hasText: "Files" }).click();
  await page.locator(".none").waitFor();
  assert.equal(new URL(page.url()).pathname, `${pathname}browse`);
  // Larger than what one request brings.
  const octets = Buffer.alloc(9 * 1024 * 1024, "mailftp.");
  await page.setInputFiles("input[type=file]", { name: "large & more.bin", mimeType: "", buffer: octets });
  const file = page.locator(".file", { hasText: "large & more.bin" });
  await file.waitFor();
  const [down] = await Promise.all([page.waitForEvent("download"), file.locator("a").click()]);
  const got = [];
  for await (const piece of await down.createReadStream()) got.push(piece);
  assert.ok(Buffer.concat(got).equals(octets));
  await page.reload();
  await file.waitFor();
  await page.getByRole("link", { name: "Mail", exact: true }).click();
  await page.locator(".row", { hasText: "Behind a proxy" }).first().waitFor();
  await page.click("[aria-label=Settings]");
  await page.getByRole("button", { name: "Sign out", exact: true }).first().click();
  await page.locator("#name").waitFor();

  const other = await read(taken);
  await other.locator("a.folder", { hasText: "Files" }).click();
  await other.locator(".file", { hasText: "large & more.bin" }).waitFor();
  return [...page.faults, ...other.faults];
}

const faults = await use().catch((error) => last(browser, error));
await browser.close();
console.log(JSON.stringify(faults));
