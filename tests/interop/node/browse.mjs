// browse.mjs CHROMIUM URL NAME PASSWORD: somebody uses the files' page, at a desk and on a phone.
//
// Tells, for each size, what went wrong in the page and what axe found.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { broken, DESKTOP, launch, open, PHONE, picture, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const browser = await launch(chromium);
const told = {};
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

// One page with "Harbour" on it, as small as can be: readers mend the table that is not there.
const PDF = Buffer.from(`%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 40>>stream
BT /F 36 Tf 40 90 Td (Harbour) Tj ET    
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
%%EOF
`);

// The viewer is a frame of the browser's own, which says how many pages it shows.
async function shownPdf(page) {
  const viewer = () => page.frames().find((frame) => frame.url().startsWith("chrome-extension://"));
  while (!viewer()) await page.waitForEvent("framenavigated");
  await viewer().locator("#pagelength", { hasText: /^1$/ }).waitFor();
}

async function use(size, viewport, phone) {
  const faults = [];
  const look = async (page, where) => {
    faults.push(...(await broken(page)).map((fault) => `${where}: ${fault}`));
    await picture(page, `files-${size}-${where}`);
  };
  const page = await open(browser, new URL("browse", url).href, { viewport, hasTouch: phone, colorScheme: phone ? "dark" : "light" });
  page.setDefaultTimeout(60000);
  const file = (text) => page.locator(".file", { hasText: text }).first();
  const what = async (text, item) => {
    await page.getByRole("button", { name: `What to do with ${text}` }).click();
    await page.getByRole("menuitem", { name: item }).click();
  };
  const answer = async (text, button) => {
    await page.fill("#asked", text);
    await page.getByRole("dialog").getByRole("button", { name: button }).click();
  };
  const choose = (...files) => page.setInputFiles("input[type=file]", files);

  await signIn(page, name, password);
  await page.locator(".none").waitFor();
  await look(page, "empty");

  // Made, uploaded, entered; names of every kind.
  await page.getByRole("button", { name: "New folder" }).click();
  await answer("Scans & 100% <b>", "Make");
  await file("Scans & 100% <b>").waitFor();
  await choose({ name: "a note.txt", mimeType: "text/plain", buffer: Buffer.from("Grüße\n<script>alert(1)</script>\n") },
    { name: "dot.png", mimeType: "image/png", buffer: PNG }, { name: "ünïcode #?.bin", mimeType: "", buffer: Buffer.from([0, 1, 2]) });
  await file("ünïcode #?.bin").waitFor();
  await look(page, "list");

  // Looked at: text as text, a picture as a picture.
  await file("a note.txt").locator("a").click();
  await page.locator("pre.source", { hasText: "<script>alert(1)</script>" }).waitFor();
  await look(page, "text");
  await page.click("dialog [aria-label=Close]");
  await file("dot.png").locator("a").click();
  assert.ok(await page.locator("img.preview").evaluate((img) => img.decode().then(() => img.naturalWidth === 1)));
  await page.click("dialog [aria-label=Close]");

  // A PDF in the browser's own viewer, whose parts are the browser's and no faults of the page.
  if (!phone) {
    const ours = page.faults.splice(0);
    await choose({ name: "plan.pdf", mimeType: "application/pdf", buffer: PDF });
    await file("plan.pdf").locator("a").click();
    await shownPdf(page);
    await picture(page, "files-desk-pdf");
    await page.click("dialog [aria-label=Close]");
    ours.push(...page.faults.splice(0).filter((fault) => !/^fetched: chrome(-extension)?:/.test(fault)));
    assert.deepEqual(ours, []);
    // Dropped from outside.
    const files = await page.evaluateHandle(() => {
      const data = new DataTransfer();
      data.items.add(new File(["from outside"], "dropped.txt", { type: "text/plain" }));
      return data;
    });
    await page.locator("main").dispatchEvent("dragover", { dataTransfer: files });
    await page.locator("main.drop").waitFor();
    await page.locator("main").dispatchEvent("drop", { dataTransfer: files });
    await file("dropped.txt").locator(".file-size", { hasText: "12 bytes" }).waitFor();
    // The names have room.
    assert.ok((await page.locator(".file-page").boundingBox()).width > 900);
  }

  // Downloaded as it is.
  const [download] = await Promise.all([page.waitForEvent("download"), file("ünïcode #?.bin").locator("a").click()]);
  // Chromium takes what some disks would not take out of the name.
  assert.match(download.suggestedFilename(), /^ünïcode #.\.bin$/);

  // A name that is taken is replaced only when somebody says so.
  await choose({ name: "a note.txt", mimeType: "text/plain", buffer: Buffer.from("second") });
  await page.getByRole("button", { name: "Replace" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".uploads li").length === 0);
  // The browser says so of the first try.
  assert.match(page.faults.splice(0).join(), /412/);
  await file("a note.txt").locator("a").click();
  await page.locator("pre.source", { hasText: "second" }).waitFor();
  await page.click("dialog [aria-label=Close]");

  // Renamed, moved, found in its folder, moved back by the mouse, deleted.
  await what("a note.txt", "Rename");
  await answer("note.txt", "Rename");
  await file("note.txt").waitFor();
  await what("note.txt", "Move");
  await answer("/Scans & 100% <b>", "Move");
  await file("note.txt").waitFor({ state: "detached" });
  await file("Scans & 100% <b>").locator("a").click();
  await file("note.txt").waitFor();
  await page.getByRole("navigation", { name: "Where this is" }).getByText("Scans & 100% <b>").waitFor();
  await page.reload();
  await file("note.txt").waitFor();
  await look(page, "folder");
  await page.goBack();
  await file("dot.png").waitFor();
  if (!phone) {
    await file("dot.png").dragTo(file("Scans & 100% <b>"));
    await file("dot.png").waitFor({ state: "detached" });
  }

  // A large upload is cut in the middle: what came is kept, and it goes on, first by itself, then after a reload.
  const octets = Buffer.alloc(20 * 1024 * 1024, "mailftp.");
  const path = `${tmpdir()}/large-${process.pid}.bin`;
  writeFileSync(path, octets);
  const sent = [];
  let cut = 1;
  await page.route("**/large-*", async (route) => {
    const range = route.request().headers()["content-range"];
    if (range) sent.push(range.split("-")[0].slice(6));
    if (range?.startsWith("bytes 8388608-") && cut > 0) { cut -= 1; return route.abort("connectionreset"); }
    return route.continue();
  });
  await page.setInputFiles("input[type=file]", path);
  await file("large-").waitFor();
  assert.deepEqual(sent, ["0", "8388608", "8388608", "16777216"]);
  await what(`large-${process.pid}.bin`, "Delete");
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await file("large-").waitFor({ state: "detached" });
  cut = 9;
  sent.length = 0;
  await page.setInputFiles("input[type=file]", path);
  await page.locator(".uploads li", { hasText: "trying again" }).waitFor();
  await look(page, "upload");
  cut = 0;
  await page.evaluate(() => { addEventListener("beforeunload", (event) => event.stopImmediatePropagation(), { capture: true }); });
  page.removeAllListeners("dialog");
  page.on("dialog", (dialog) => dialog.accept());
  await page.reload();
  await page.locator(".file-tools").waitFor();
  sent.length = 0;
  await page.setInputFiles("input[type=file]", path);
  await file("large-").waitFor();
  assert.equal(sent[0], "8388608");
  assert.deepEqual(page.faults.splice(0).filter((fault) => !/ERR_CONNECTION_RESET|404/.test(fault)), []);

  // Several at a time.
  await page.locator(".file input").first().check();
  await page.locator(".file input").nth(1).check();
  await page.locator(".quiet", { hasText: "2 selected" }).waitFor();
  await look(page, "selection");
  for (const box of await page.locator(".file input").all()) await box.check();
  await page.getByRole("toolbar").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.locator(".none").waitFor();
  faults.push(...page.faults);
  await page.context().close();
  told[size] = faults;
}

try {
  await use("desk", DESKTOP, false);
  await use("phone", PHONE, true);
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
