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
  // As long as can be: a busy machine is slow to press the button.
  await page.evaluate(() => localStorage.setItem("hold", "20"));
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

async function forward() {
  await row("Invoice").click();
  await page.locator(".answers button", { hasText: "Forward" }).click();
  await page.locator(".editor", { hasText: "Forwarded mail" }).waitFor();
  await page.locator(".composer .attachment", { hasText: "invoice-2041.pdf" }).waitFor();
  await page.locator(".composer .attachment", { hasText: "plan of the harbour.png" }).waitFor();
  assert.equal(await page.inputValue("#subject"), "Fwd: Invoice 2041 is due");
  // A file is dropped on it.
  const files = await page.evaluateHandle(() => {
    const data = new DataTransfer();
    data.items.add(new File(["from outside"], "dropped.txt", { type: "text/plain" }));
    return data;
  });
  await composer.dispatchEvent("dragover", { dataTransfer: files });
  await page.locator(".composer.dropping").waitFor();
  await composer.dispatchEvent("drop", { dataTransfer: files });
  await page.locator(".composer:not(.dropping) .attachment", { hasText: "dropped.txt" }).locator("text=12 bytes").waitFor();
  await look("forward");
  await page.fill("#to", name);
  await page.click(".composer .primary");
  await composer.waitFor({ state: "detached" });
  await row("Fwd: Invoice").click();
  await page.locator(".message .attachment", { hasText: "dropped.txt" }).waitFor();
  assert.equal(await page.locator(".message .attachment").count(), 3);
}

async function keys() {
  const press = (key) => page.keyboard.press(key);
  await press("u");
  await page.locator(".nothing").waitFor();
  // Each way to open and to go back.
  for (const [down, up, enter, leave] of [["j", "k", "Enter", "u"], ["ArrowDown", "ArrowUp", "o", "Escape"]]) {
    await press(down);
    const first = await page.locator(".row.current").innerText();
    await press(down);
    await page.waitForFunction((text) => document.querySelector(".row.current")?.innerText !== text, first);
    await press(up);
    await page.waitForFunction((text) => document.querySelector(".row.current")?.innerText === text, first);
    await press(enter);
    await page.locator(".message").first().waitFor();
    await press(leave);
    await page.locator(".nothing").waitFor();
  }
  for (const [key, text] of [["s", "Sent"], ["d", "Drafts"], ["a", "Archive"], ["t", "Trash"], ["i", "Inbox"]]) await go(key, text);
  // A star, read and unread, for the one that is shown.
  await row("Question").click();
  await page.locator(".message").first().waitFor();
  await page.locator(".row.current:not(.unread)").waitFor();
  await press("s");
  await page.locator(".row.current .star.on").waitFor();
  await press("s");
  await page.locator(".row.current .star:not(.on)").waitFor();
  await press("Shift+U");
  await page.locator(".row.unread", { hasText: "Question" }).waitFor();
  await row("The roof").click();
  await page.locator(".message").first().waitFor();
  await press("x");
  await page.getByText("1 conversation selected").waitFor();
  await press("x");
  await page.locator(".list-head", { hasText: "selected" }).waitFor({ state: "detached" });
  await row("Question").locator(".pick").click();
  await press("Shift+I");
  await page.locator(".row:not(.unread)", { hasText: "Question" }).waitFor();
  await row("Question").locator(".pick").click();
  // Each place that a key brings a mail to, and back.
  for (const [key, words] of [["e", "archived"], ["!", "Junk"], ["#", "Trash"], ["Delete", "Trash"]]) {
    await row("The roof").click();
    await page.locator(".row.current", { hasText: "The roof" }).waitFor();
    await press(key);
    await row("The roof").waitFor({ state: "detached" });
    await toast(words).getByRole("button", { name: "Undo" }).click();
    await row("The roof").waitFor();
  }
  // Writing: anew, to one, to all, on to others.
  await press("c");
  await composer.locator("h2", { hasText: "New mail" }).waitFor();
  await press("Escape");
  await composer.waitFor({ state: "detached" });
  await row("Regatta").click();
  await page.locator(".answers").last().waitFor();
  for (const [key, title] of [["r", "Reply"], ["a", "Reply"], ["f", "Forward"]]) {
    await press(key);
    await composer.locator("h2", { hasText: title }).waitFor();
    await discard();
  }
  await press("/");
  await page.keyboard.type("greenhouse");
  await page.locator(".row mark").first().waitFor();
  await press("Escape");
  await row("Regatta").waitFor();
  await press("?");
  const said = await page.locator("dialog kbd").allInnerTexts();
  assert.equal(said.length, 22);
  await look("keyboard");
  await press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await press(",");
  await page.locator("dialog h2", { hasText: "Settings" }).waitFor();
  await press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
}

async function menus() {
  await row("Question").click();
  await page.locator(".message-top .tool").last().click();
  await page.getByRole("menuitem", { name: "Print" }).waitFor();
  await look("mail-menu");
  await page.keyboard.press("Escape");
  await page.locator(".reader-head [aria-label=More]").click();
  await page.getByRole("menuitem", { name: "Star" }).waitFor();
  await look("conversation-menu");
  await page.keyboard.press("Escape");
  await page.locator(".menu").waitFor({ state: "detached" });
}

// What stands on the paper: the mail, and nothing else of the page.
async function print() {
  await row("Question").click();
  await page.locator(".message .text", { hasText: "please look at" }).waitFor();
  await page.evaluate(() => { window.print = () => { window.asked = true; }; });
  await page.locator(".message-top .tool").last().click();
  await page.getByRole("menuitem", { name: "Print" }).click();
  assert.ok(await page.evaluate(() => window.asked));
  await page.emulateMedia({ media: "print" });
  const paper = await page.evaluate(() => document.body.innerText);
  await picture(page, "answering-paper");
  // All of the paper's width.
  assert.ok((await page.locator(".message.printed").boundingBox()).width > DESKTOP.width * 0.9);
  for (const text of ["Question about the garden", "please look at", "Best wishes"]) assert.ok(paper.includes(text), paper);
  for (const text of ["Inbox", "Regatta", "Compose", "Reply", "Forward", "Archive"]) assert.ok(!paper.includes(text), paper);
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  await page.emulateMedia({ media: "screen" });
  await page.locator(".compose").waitFor();
  // HTML by itself.
  await row("Summer programme").click();
  await page.frameLocator("iframe.mail-frame").locator("img[alt=square]").waitFor();
  await page.locator(".message-top .tool").last().click();
  const [own] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("menuitem", { name: "Print" }).click()]);
  await own.getByText("Only this week.").waitFor();
  await own.close();
}

try {
  await signIn(page, name, password);
  for (const step of [undo, forward, keys, menus, print]) await step();
} catch (error) {
  await last(browser, error);
}
await browser.close();
console.log(JSON.stringify({ axe, faults: page.faults }));
