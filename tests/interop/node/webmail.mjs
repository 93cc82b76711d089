// webmail.mjs CHROMIUM URL NAME PASSWORD: somebody reads mail, at a desk and on a phone.
//
// Each step waits for what the page shows. Tells, for each size, what went wrong in the page and what axe found.

import assert from "node:assert/strict";
import { broken, DESKTOP, last, launch, open, PHONE, picture, signIn } from "./browser.mjs";

const [, , chromium, url, name, password] = process.argv;
const browser = await launch(chromium);
const told = {};

const subject = (page, text) => page.locator(".row", { hasText: text }).first();
const folder = (page, text) => page.locator(".folder", { hasText: text });
const axe = async (page, found, where) => found.push(...(await broken(page)).map((fault) => `${where}: ${fault}`));

async function read(size, viewport, phone) {
  const faults = [];
  const page = await open(browser, url, { viewport, hasTouch: phone, colorScheme: phone ? "dark" : "light" });
  await axe(page, faults, "signing in");
  await picture(page, `${size}-signin`);
  await signIn(page, name, "wrong");
  await page.getByText("The name or the password is wrong.").waitFor();
  // The browser itself says so of every 401.
  assert.match(page.faults.splice(0).join(), /401/);
  await signIn(page, name, password);

  const back = async () => { if (phone) await page.click(".reader .phone-only"); };
  const show = async (text) => {
    if (phone) await page.click(".search .narrow-only");
    await folder(page, text).click();
    await page.locator(".list h2", { hasText: text }).waitFor();
  };

  // A conversation of two, the unread ones open.
  await subject(page, "Re: Minutes").waitFor();
  await axe(page, faults, "the list");
  await picture(page, `${size}-list`);
  await subject(page, "Re: Minutes").click();
  await page.locator(".message").nth(1).waitFor();
  assert.equal(await page.locator(".message").count(), 2);
  const oldest = page.locator(".message-head").first();
  // What was read is folded.
  if (await oldest.getAttribute("aria-expanded") === "false") await oldest.click();
  await page.locator(".text a", { hasText: "https://example.test/page?n=0" }).waitFor();
  await page.locator(".row:not(.unread)", { hasText: "Re: Minutes" }).first().waitFor({ state: "attached" });
  await axe(page, faults, "a conversation");
  await picture(page, `${size}-conversation`);
  await page.locator(".message-top .tool").last().click();
  await page.getByRole("menuitem", { name: "Source" }).click();
  await page.locator("pre.source", { hasText: "Message-ID: <r0@sender.test>" }).waitFor();
  await picture(page, `${size}-source`);
  await page.click("dialog [aria-label=Close]");
  await page.locator(".message-top .tool").last().click();
  await page.getByRole("menuitem", { name: "Details" }).click();
  await page.locator("dd", { hasText: "dmitri@sender.test" }).first().waitFor();
  await page.click("dialog [aria-label=Close]");
  await back();

  // HTML: its own picture is there, those of elsewhere when they are asked for.
  await subject(page, "Summer programme").click();
  const frame = page.frameLocator("iframe.mail-frame");
  await frame.locator("img[alt=square]").waitFor();
  assert.ok(await frame.locator("img[alt=square]").evaluate((img) => img.naturalWidth > 0));
  assert.equal(await frame.locator("script").count(), 0);
  await page.getByRole("button", { name: "Show pictures" }).waitFor();
  await picture(page, `${size}-html`);
  assert.deepEqual(page.faults, []);
  await page.getByRole("button", { name: "Show pictures" }).click();
  await frame.locator("img[src^='https://tracker.test']").waitFor({ state: "attached" });
  await page.waitForFunction(() => !document.querySelector(".pictures"));
  assert.match(page.faults.splice(0).join(), /fetched: https:\/\/tracker\.test\/pixel\.png/);
  await back();

  // Attachments come down as they are.
  await subject(page, "Invoice").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".attachment", { hasText: "invoice-2041.pdf" }).click()]);
  assert.equal(download.suggestedFilename(), "invoice-2041.pdf");
  assert.ok(await page.locator(".attachment img").first().evaluate((img) => img.decode().then(() => img.naturalWidth === 10)));
  await picture(page, `${size}-attachments`);
  await back();

  // Search as one types, with what was found marked.
  await page.fill("input[type=search]", "greenhouse");
  await page.locator(".row mark").first().waitFor();
  assert.equal((await page.locator(".row").count()), 1);
  await axe(page, faults, "what was found");
  await picture(page, `${size}-search`);
  await page.fill("input[type=search]", "nothing has this");
  await page.getByText("Nothing was found.").waitFor();
  await page.fill("input[type=search]", "");
  await subject(page, "Re: Minutes").waitFor();

  // A star, at once and for good.
  const row = page.locator(".row", { hasText: "(7)" });
  const starred = row.locator(".star.on");
  const set = page.waitForResponse((response) => response.request().postData()?.includes("Email/set") ?? false);
  await row.locator(".star").click();
  await starred.waitFor();
  await set;
  await page.reload();
  await starred.waitFor();
  await row.locator(".star").click();
  await starred.waitFor({ state: "detached" });

  // Several are chosen, archived, and brought back.
  const [one, two] = phone ? ["(13)", "(14)"] : ["(8)", "(9)"];
  const first = page.locator(".row", { hasText: one }), second = page.locator(".row", { hasText: two });
  await first.locator(".pick").click();
  await second.locator(".pick").click();
  await page.getByText("2 conversations selected").waitFor();
  await picture(page, `${size}-selection`);
  await axe(page, faults, "a selection");
  await page.locator(".list > .tools [aria-label^=Archive]").click();
  await first.waitFor({ state: "detached" });
  await page.locator(".toast button", { hasText: "Undo" }).click();
  await first.waitFor();
  await second.waitFor();

  // A folder is made, gets a mail, is renamed and goes.
  if (phone) await page.click(".search .narrow-only");
  await page.click(".new-folder");
  await page.fill("#asked", `Boats ${size}`);
  await axe(page, faults, "a dialog");
  await picture(page, `${size}-new-folder`);
  await page.keyboard.press("Enter");
  await page.locator(".list h2", { hasText: `Boats ${size}` }).waitFor();
  await page.getByText("There is nothing here.").waitFor();
  await show("Inbox");
  if (phone) {
    await first.locator(".pick").click();
    await page.locator(".list > .tools [aria-label=More]").click();
    await page.getByRole("menuitem", { name: `Move to Boats ${size}` }).click();
  } else {
    await first.dragTo(folder(page, `Boats ${size}`));
  }
  await first.waitFor({ state: "detached" });
  await show(`Boats ${size}`);
  await first.waitFor();
  if (phone) await page.click(".search .narrow-only");
  const entry = page.locator(".folders li", { hasText: `Boats ${size}` });
  await entry.hover();
  await entry.locator(".folder-more").click();
  await picture(page, `${size}-folder-menu`);
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.fill("#asked", `Ships ${size}`);
  await page.keyboard.press("Enter");
  await folder(page, `Ships ${size}`).waitFor();
  const renamed = page.locator(".folders li", { hasText: `Ships ${size}` });
  await renamed.hover();
  await renamed.locator(".folder-more").click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await page.locator("dialog .danger").click();
  await folder(page, `Ships ${size}`).waitFor({ state: "detached" });

  told[size] = { axe: faults, faults: page.faults };
  return page;
}

const desk = await read("desk", DESKTOP, false).catch((error) => last(browser, error));

// The keyboard alone.
await subject(desk, "Re: Minutes").waitFor();
await desk.keyboard.press("j");
await desk.locator(".message").first().waitFor();
await desk.keyboard.press("j");
await desk.locator(".row.current").nth(0).waitFor();
await desk.keyboard.press("u");
await desk.locator(".nothing").waitFor();
await desk.keyboard.press("?");
await desk.locator("dialog kbd").first().waitFor();
await desk.keyboard.press("Escape");
await desk.keyboard.press("g");
await desk.keyboard.press("t");
await desk.locator(".list h2", { hasText: "Trash" }).waitFor();
await desk.keyboard.press("g");
await desk.keyboard.press("i");
await desk.locator(".list h2", { hasText: "Inbox" }).waitFor();
// The end of the list.
await subject(desk, "Re: Minutes").waitFor();
await desk.locator(".scroller").evaluate((scroller) => scroller.scrollTo(0, scroller.scrollHeight));
await desk.locator(".row", { hasText: "The greenhouse" }).waitFor();

// The settings: other colours, the browsers that are signed in.
await desk.locator(".folders-head [aria-label=Settings]").click();
await desk.selectOption("#theme", "dark");
await desk.getByText("this one").waitFor();
const dark = await broken(desk);
await picture(desk, "desk-settings");
told.settings = dark;
await desk.click("dialog [aria-label=Close]");
await picture(desk, "desk-dark");
await desk.reload();
assert.equal(await desk.evaluate(() => document.documentElement.dataset.theme), "dark");

const phone = await read("phone", PHONE, true).catch((error) => last(browser, error));
told.faults = [...desk.faults, ...phone.faults];

// New mail is there without a reload: standard input says when it has come.
await desk.locator(".row").first().waitFor();
console.log(JSON.stringify("ready"));
await new Promise((resolve) => process.stdin.once("data", resolve));
await subject(desk, "Just now").waitFor();
await desk.locator(".folders-head [aria-label=Settings]").click();
await desk.getByRole("button", { name: "Sign out", exact: true }).first().click();
await desk.locator("#name").waitFor();
await desk.reload();
await desk.locator("#name").waitFor();
told.faults = [...desk.faults, ...phone.faults];
await browser.close();
console.log(JSON.stringify(told));
process.exit(0);
