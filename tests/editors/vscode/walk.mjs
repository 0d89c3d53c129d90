// From the first squiggle to a restart, with the scripted worker.
import fs from "node:fs";
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  const { page } = bench;
  await bench.squiggle();
  await bench.hover("Unexplained");
  await bench.shot("hover");

  await bench.enter();
  await bench.quickFix("Look for a fix with ACE");
  await bench.shows("return GOOD");
  await bench.noSquiggle();
  await page.locator(".notification-toast", { hasText: "writing a fix" }).waitFor({ state: "hidden" });
  await page.keyboard.press("Control+Z");
  await bench.shows("return BUG");

  await bench.squiggle();
  await bench.enter();
  await bench.command("ACE: Why");
  const why = await bench.webview("Why “BUG” is marked");
  const target = why.locator(".target").first();
  const colours = await target.evaluate((element) => {
    const { backgroundColor, outlineStyle } = getComputedStyle(element);
    return { backgroundColor, outlineStyle, page: getComputedStyle(document.body).backgroundColor };
  });
  bench.saw("heat", JSON.stringify(colours));
  await bench.shot("why");
  await why.locator(".line .number", { hasText: /^1$/ }).first().click();
  await page.getByText("Ln 1, Col 1").first().waitFor();
  bench.saw("went to", "Ln 1, Col 1");
  await bench.enter(); // a newer VS Code leaves the keyboard to the web view

  const status = await bench.status("ACE: ready");
  await bench.shot("status");
  await status.getByText("Log").click();
  await page.locator(".output-view-container, .output-view").first().waitFor();
  await page.locator(".part.panel select, .part.panel .monaco-select-box").first().waitFor();
  bench.saw("log", await page.locator(".part.panel").innerText());
  await bench.shot("log");

  await bench.command("ACE: Restart the Server");
  for (let tries = 0; fs.readFileSync(process.env.STARTS, "utf8").trim().split("\n").length < 2; tries++) {
    if (tries > 2400) throw new Error("the server was not started again");
    await page.waitForTimeout(100);
  }
  await bench.status("ACE: ready");
  await bench.squiggle();
});
