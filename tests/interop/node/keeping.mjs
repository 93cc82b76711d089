// keeping.mjs CHROMIUM URL NAME PASSWORD: what is attached to a mail goes among the files, and a file to a mail.

import assert from "node:assert/strict";
import { broken, DESKTOP, launch, open, picture, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const browser = await launch(chromium);
const faults = [];

try {
  const page = await open(browser, url, { viewport: DESKTOP });
  await signIn(page, name, password);
  await page.locator(".row", { hasText: "Plans" }).click();
  await page.getByRole("button", { name: "Save plan & more.pdf to your files" }).click();
  await page.getByRole("button", { name: "New folder" }).last().click();
  await page.fill("#asked", "From mail");
  await page.getByRole("button", { name: "Make" }).click();
  await page.locator("dialog .quiet", { hasText: "/From mail/" }).waitFor();
  faults.push(...await broken(page));
  await picture(page, "keeping-save");
  await page.getByRole("button", { name: "Save here" }).click();
  await page.getByText("plan & more.pdf is among your files.").waitFor();

  await page.locator("a.folder", { hasText: "Files" }).click();
  await page.locator(".file", { hasText: "From mail" }).locator("a").click();
  await page.locator(".file", { hasText: "plan & more.pdf" }).locator(".file-size", { hasText: "9.0 kB" }).waitFor();
  await page.getByRole("link", { name: "Mail", exact: true }).click();

  await page.locator(".compose").click();
  await page.getByRole("button", { name: "Attach from your files" }).click();
  await page.locator(".picker button", { hasText: "From mail" }).click();
  await page.locator(".picker").getByLabel("plan & more.pdf").check();
  faults.push(...await broken(page));
  await picture(page, "keeping-attach");
  await page.getByRole("button", { name: "Attach", exact: true }).click();
  await page.locator(".composer .attachment", { hasText: "9.0 kB" }).waitFor();
  await page.fill("#to", name);
  await page.fill("#subject", "With a file");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("Sent.").waitFor();
  assert.deepEqual(page.faults, []);
} finally {
  await browser.close();
}
console.log(JSON.stringify(faults));
