// A person at the workbench: what they press, point at and see. Each thing seen is printed as a line of JSON.
import { address, browser, remote, WORKSPACE } from "./browser.mjs";

const { PATIENCE, SHOTS } = process.env;
const SOON = 240_000;
export const LONG = Number(PATIENCE) * 1000;

export class Workbench {
  static async open(file) {
    const chromium = await browser();
    const page = await chromium.newPage({
      viewport: { width: 1280, height: 800 },
      deviceScaleFactor: Number(process.env.SCALE ?? 1),
    });
    page.setDefaultTimeout(SOON);
    const bench = new Workbench(chromium, page);
    await page.goto(address([["openFile", remote(`${WORKSPACE}/${file}`)]]));
    await page.locator(".monaco-workbench").waitFor({ timeout: SOON });
    return bench;
  }

  constructor(chromium, page) {
    this.chromium = chromium;
    this.page = page;
  }

  /** Run a walk; what went wrong is printed, with a picture. */
  static async walk(file, steps) {
    const bench = await Workbench.open(file);
    let code = 1;
    try {
      await steps(bench);
      code = 0;
    } catch (error) {
      bench.saw("failure", String(error.stack));
      await bench.shot("failure");
    }
    await bench.chromium.close();
    process.exit(code);
  }

  saw(what, text = "") {
    console.log(JSON.stringify({ what, text: text.replace(/\s+/g, " ").trim() }));
  }

  async shot(name) {
    if (SHOTS) await this.page.screenshot({ path: `${SHOTS}/${name}.png` });
  }

  line(text) {
    return this.page.locator(".monaco-editor .view-line", { hasText: text }).first();
  }

  async shows(text) {
    await this.line(text).waitFor();
    this.saw("line", text);
  }

  squiggles() {
    return this.page.locator(".squiggly-warning, .squiggly-info, .squiggly-error, .squiggly-hint");
  }

  /** Wait for a squiggle that stays: those of an older text may still be there for a moment. */
  async squiggle(timeout = SOON) {
    const end = Date.now() + timeout;
    for (let stayed = 0, before = 0; stayed < 5;) {
      await this.page.waitForTimeout(200);
      const count = await this.squiggles().count();
      stayed = count > 0 && count === before ? stayed + 1 : 0;
      before = count;
      if (Date.now() > end) throw new Error("no squiggle that stays");
    }
    this.saw("squiggle", String(await this.squiggles().count()));
  }

  async noSquiggle() {
    await this.page.waitForFunction(() => !document.querySelector("[class*=squiggly-]"), undefined, {
      timeout: SOON,
    });
  }

  /** Where the n-th marked place is, once it is drawn: a squiggle is taken away and drawn anew when a view changes. */
  async place(index = 0, timeout = SOON) {
    const end = Date.now() + timeout;
    for (;;) {
      const box = await this.squiggles()
        .nth(index)
        .boundingBox({ timeout: Math.max(1, end - Date.now()) })
        .catch(() => null);
      if (box) return box;
      if (Date.now() > end) throw new Error(`marked place ${index} is not drawn`);
      await this.page.waitForTimeout(100);
    }
  }

  /** Point at the n-th marked place until its hover says `text`; a hover may come before the explanation. */
  async hover(text, timeout = SOON, index = 0) {
    const end = Date.now() + timeout;
    const shown = this.page.locator(".monaco-hover:visible", { hasText: text }).first();
    while (!(await shown.isVisible())) {
      if (Date.now() > end) throw new Error(`no hover with ${text}`);
      const { x, y, width, height } = await this.place(index, timeout);
      await this.page.mouse.move(x + width / 2, y - 200);
      await this.page.waitForTimeout(400);
      await this.page.mouse.move(x + width / 2, y + height / 2, { steps: 4 });
      await shown.waitFor({ timeout: 2500 }).catch(() => {});
    }
    this.saw("hover", await shown.innerText());
  }

  /** Put the cursor into the n-th marked place. */
  async enter(index = 0) {
    const { x, y, width, height } = await this.place(index);
    await this.page.mouse.click(x + width / 2, y + height / 2);
  }

  /** Select the first marked place, which is a word. */
  async select() {
    const { x, y, width, height } = await this.place();
    await this.page.mouse.dblclick(x + width / 2, y + height / 2);
  }

  /** The input box with this title. */
  async input(title) {
    const box = this.page.locator(".quick-input-widget", { hasText: title });
    const input = box.locator("input").first();
    await input.waitFor();
    return input;
  }

  async quickFix(title) {
    await this.page.keyboard.press("Control+.");
    const row = this.page.locator(".action-widget .monaco-list-row", { hasText: title }).first();
    await row.waitFor();
    const all = await this.page.locator(".action-widget .monaco-list-row").allInnerTexts();
    this.saw("quick fixes", all.join(" | "));
    const chosen = this.page.locator(".action-widget .monaco-list-row.focused", { hasText: title });
    const focused = this.page.locator(".action-widget .monaco-list-row.focused").first();
    for (let tries = 0; tries < all.length && !(await chosen.isVisible()); tries++) {
      const before = await focused.innerText();
      await this.page.keyboard.press("ArrowDown");
      await this.page.waitForFunction(
        (text) => document.querySelector(".action-widget .monaco-list-row.focused")?.innerText !== text,
        before,
      );
    }
    await chosen.waitFor();
    await this.page.keyboard.press("Enter");
  }

  async command(title) {
    await this.page.keyboard.press("F1");
    await this.page.locator(".quick-input-widget input").first().waitFor();
    await this.page.keyboard.type(title);
    await this.page.locator(".quick-input-widget .monaco-list-row.focused", { hasText: title }).first().waitFor();
    await this.page.keyboard.press("Enter");
    this.saw("command", title);
  }

  /** What the web view with a title shows. */
  async webview(text, timeout = SOON) {
    const outer = this.page.locator("iframe.webview.ready").last();
    await outer.waitFor({ timeout });
    const inner = outer.contentFrame().locator("iframe#active-frame").contentFrame();
    await inner.getByText(text).first().waitFor({ timeout });
    this.saw("web view", (await inner.locator("body").innerText()).slice(0, 2000));
    return inner;
  }

  /** The status beside the language, opened as a person does. */
  async status(text, timeout = SOON) {
    const item = this.page.locator("#status\\.languageStatus");
    const row = this.page.locator(".hover-language-status", { hasText: text }).first();
    const end = Date.now() + timeout;
    while (!(await row.isVisible())) {
      if (Date.now() > end) throw new Error(`no status with ${text}`);
      await item.hover();
      await item.click();
      await row.waitFor({ timeout: 1500 }).catch(() => {});
    }
    this.saw("status", await row.innerText());
    return row;
  }

  async notification(text, timeout = SOON) {
    const toast = this.page.locator(".notification-toast", { hasText: text }).first();
    await toast.waitFor({ timeout });
    this.saw("notification", await toast.innerText());
    return toast;
  }
}
