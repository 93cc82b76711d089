// Chromium for the scripts here: pages that keep what goes wrong in them.

import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

export async function launch(executablePath, more = []) {
  // As root, Chromium has no sandbox of its own; what it opens here is ours.
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...more] });
}

// A page of a browser of its own; `page.faults` has each error of its console and scripts, each dialog, and each
// request for another host.
export async function open(browser, url, { viewport = DESKTOP, ...more } = {}) {
  const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true, ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.MAILFTP_TEST_PATIENCE ?? 60) * 1000);
  const host = new URL(url).host;
  page.faults = [];
  page.on("console", (message) => message.type() === "error" && page.faults.push(`console: ${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => page.faults.push(`script: ${error.message}`));
  page.on("dialog", (dialog) => { page.faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (!["data:", "blob:"].includes(asked.protocol) && asked.host !== host) page.faults.push(`fetched: ${asked.href}`);
  });
  await page.goto(url);
  return page;
}

export async function signIn(page, name, password) {
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.click("button[type=submit]");
}

// What WCAG 2.1 AA is broken by, as axe sees it.
export async function broken(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
}

// What was there when something went wrong.
export async function last(browser, error) {
  for (const context of browser.contexts()) {
    for (const page of context.pages()) {
      await picture(page, "last");
      console.error(page.url(), page.faults, (await page.evaluate(() => document.body.innerText)).slice(0, 2000));
    }
  }
  throw error;
}

// What a test reads; where it wants to look at a page, MAILFTP_SCREENSHOTS names a folder.
export async function picture(page, name) {
  const folder = process.env.MAILFTP_SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}
