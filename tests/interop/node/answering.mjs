// answering.mjs CHROMIUM URL NAME PASSWORD: somebody answers, forwards, undoes, prints, and uses each key.

import assert from "node:assert/strict";
import { broken, DESKTOP, last, launch, open, picture, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const browser = await launch(chromium);
const axe = [];
const page = await open(browser, url, { viewport: DESKTOP });
const row = (text) => page.locator(".row", { hasText: text }).first();
const composer = page.locator(".composer");
const look = async (where) => { axe.push(...(await broken(page)).map((fault) => `${where}: ${fault}`)); await picture(page, `answering-${where}`); };
const heading = (text) => page.locator(".list h2", { hasText: text }).waitFor();
const go = async (key, text) => { await page.keyboard.press("g"); await page.keyboard.press(key); await heading(text); };
const discard = async () => {
  await page.click(".composer [aria-label=Discard]");
  await page.locator("dialog .danger").click();
  await composer.waitFor({ state: "detached" });
};
const toast = (text) => page.locator(".toast", { hasText: text });

async function undo() {
  await row("Regatta").click();
  await page.locator(".answers button", { hasText: "Reply to all" }).click();
  await page.locator(".editor blockquote", { hasText: "Who comes?" }).waitFor();
  // Everybody but oneself.
  assert.equal(await page.inputValue("#to"), "Carol <carol@sender.test>, Dan <dan@sender.test>");
  assert.equal(await page.inputValue("#cc"), "erin@sender.test");
  await look("reply-to-all");
  await page.fill("#to", name);
  await page.fill("#cc", "");
  await page.locator(".editor").click();
  await page.keyboard.press("Control+Home");
  await page.keyboard.type("Me, if it rains");
  await page.keyboard.press("Control+Enter");
  await toast("Sent.").getByRole("button", { name: "Undo" }).click();
  await page.locator(".editor", { hasText: "Me, if it rains" }).waitFor();
  assert.equal(await page.inputValue("#to"), name);
  assert.equal(await page.inputValue("#subject"), "Re: Regatta");
  await page.locator(".editor").click();
  await page.keyboard.press("Control+Home");
  await page.keyboard.type("Again: ");
  await page.getByText("Kept in Drafts").waitFor();
  // The second time it goes, at once.
  await page.evaluate(() => localStorage.setItem("hold", "0"));
  await page.click(".composer .primary");
  await toast("Sent.").waitFor();
  assert.equal(await toast("Sent.").getByRole("button", { name: "Undo" }).count(), 0);
  await row("Re: Regatta").waitFor();
}

try {
  await signIn(page, name, password);
  await undo();
} catch (error) {
  await last(browser, error);
}
await browser.close();
console.log(JSON.stringify({ axe, faults: page.faults }));
