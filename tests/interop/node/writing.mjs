// writing.mjs CHROMIUM URL NAME PASSWORD: somebody writes mail, at a desk and on a phone.

import assert from "node:assert/strict";
import { broken, DESKTOP, last, launch, open, PHONE, picture, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const browser = await launch(chromium);
const told = { axe: [], faults: [] };

async function write(size, viewport, phone) {
  const page = await open(browser, url, { viewport, hasTouch: phone, colorScheme: phone ? "dark" : "light" });
  await signIn(page, name, password);
  const row = (text) => page.locator(".row", { hasText: text }).first();
  const folder = async (text) => {
    if (phone) await page.click(".search .narrow-only");
    await page.locator(".folder", { hasText: text }).click();
    await page.locator(".list h2", { hasText: text }).waitFor();
  };
  await row("Question").waitFor();
  if (!phone) {
    await page.click("[aria-label=Settings]");
    await page.getByLabel("Your name").fill("Bob Boatman");
    await page.getByLabel("Signature").fill("Harbour lane 1");
    told.axe.push(...await broken(page));
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    // Sent at once here; on the phone it can be undone for a while, and goes all the same.
    await page.selectOption("#hold", "0");
    // A program of its own.
    await page.getByLabel("Name of a new one").fill("Telephone");
    await page.getByLabel("Your own password").fill(password);
    await page.getByRole("button", { name: "Make an app password" }).click();
    told.secret = await page.locator(".secret code").innerText();
    await page.locator("li", { hasText: "Telephone" }).waitFor();
    told.axe.push(...await broken(page));
    await picture(page, "desk-app-password");
    await page.click("dialog [aria-label=Close]");
  }
  if (phone) await page.click(".list-head [aria-label^=Compose]");
  else await page.click(".compose");
  await page.locator(".composer #to").waitFor();
  await page.locator(".editor", { hasText: "Harbour lane 1" }).waitFor();
  if (phone) {
    // Whom somebody wrote to is known.
    await page.fill("#to", "ann@a.test, bo");
    await page.locator(`#known-to option[value^="ann@a.test, "][value$="<${name}>"]`).waitFor({ state: "attached" });
  }
  await page.fill("#to", `Bob <${name}>`);
  await page.fill("#subject", `From ${size}`);
  await page.locator(".editor").click();
  await page.keyboard.press("Control+Home");
  await page.keyboard.type("Plain, ");
  await page.locator(".format [aria-label=Bold]").click();
  await page.keyboard.type("bold");
  await page.locator(".format [aria-label=Bold]").click();
  await page.keyboard.type(" <b>and</b> more");
  told.axe.push(...await broken(page));
  // A reload at once: what was typed is there again.
  await page.reload();
  await page.locator(".editor", { hasText: "Plain, bold <b>and</b> more" }).waitFor();
  assert.equal(await page.inputValue("#subject"), `From ${size}`);
  await page.locator(".editor b", { hasText: "bold" }).waitFor();
  await page.locator(".editor").click();
  await page.keyboard.press("Control+Home");
  await page.keyboard.press("End");
  await page.keyboard.type(", and again");
  await page.getByText("Kept in Drafts").waitFor();
  // A file is dropped in.
  await page.locator(".composer input[type=file]").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("four") });
  await page.locator(".attachment", { hasText: "4 bytes" }).waitFor();
  await picture(page, `${size}-composer`);
  // Closed, and written on from Drafts.
  await page.click(".composer [aria-label^=Close]");
  await page.locator(".composer").waitFor({ state: "detached" });
  await folder("Drafts");
  await row(`From ${size}`).click();
  await page.locator(".editor", { hasText: "and again" }).waitFor();
  await page.locator(".editor b", { hasText: "bold" }).waitFor();
  await page.locator(".attachment", { hasText: "notes.txt" }).waitFor();
  await page.fill("#to", "no address");
  await page.click(".composer .primary");
  await page.getByText("no address is no address.").waitFor();
  await page.fill("#to", `Bob <${name}>`);
  await page.click(".composer .primary");
  await page.getByText("Sent.", { exact: true }).waitFor();
  await page.getByText("There is nothing here.").waitFor();
  await folder("Sent");
  await row(`From ${size}`).waitFor();
  // It arrives, and is answered.
  await folder("Inbox");
  await row(`From ${size}`).click();
  await page.locator(".message", { hasText: "and again" }).last().waitFor();
  await page.locator(".answers button", { hasText: "Reply" }).last().click();
  await page.locator(".editor blockquote", { hasText: "and again" }).waitFor();
  assert.equal(await page.inputValue("#subject"), `Re: From ${size}`);
  assert.match(await page.inputValue("#to"), new RegExp(name));
  await picture(page, `${size}-reply`);
  if (phone) {
    await page.click(".composer [aria-label=Discard]");
    await page.locator("dialog .danger").click();
  } else {
    await page.click(".composer .primary");
  }
  await page.locator(".composer").waitFor({ state: "detached" });
  told.faults.push(...page.faults);
  return page;
}

try {
  await write("desk", DESKTOP, false);
  await write("phone", PHONE, true);
} catch (error) {
  await last(browser, error);
}
await browser.close();
console.log(JSON.stringify(told));
process.exit(0);
