// The first run with the real model: it is not there, is asked for, comes, and finds; all of it as a person sees it.
import fs from "node:fs";
import { LONG, Workbench } from "./workbench.mjs";

const asked = () => (fs.existsSync(process.env.ASKED) ? fs.readFileSync(process.env.ASKED, "utf8") : "");

await Workbench.walk("buggy_example.py", async (bench) => {
  const { page } = bench;
  const question = await bench.notification("ACE needs the weights of", LONG);
  bench.saw("asked before a person agreed", asked());
  await bench.shot("download");
  await question.getByRole("button", { name: "Download" }).click();
  await bench.notification("300 MB of 491 MB", LONG);
  await bench.squiggle(LONG);
  bench.saw("asked", asked());
  await page.keyboard.press("Control+B");
  await bench.status("ACE: ready", LONG);
  bench.saw("findings", String(await bench.squiggles().count()));
  await page.keyboard.press("Escape");

  const at = Number(process.env.FINDING);
  await bench.hover("Unexplained", LONG, at);
  await bench.shot("hover");
  await page.keyboard.press("Escape");
  await bench.enter(at);
  await bench.command("ACE: Why");
  const why = await bench.webview("Heads and MLPs by layer", LONG);
  await why.locator(".target").first().waitFor();
  await page.mouse.move(300, 790);
  await page.waitForTimeout(700);
  await bench.shot("why");

  await page
    .locator(".monaco-editor .view-lines")
    .first()
    .click({ position: { x: 60, y: 5 } });
  await bench.enter(at);
  await bench.quickFix("Ignore this finding");
  await bench.shows("# ace: ignore[variable-misuse]");
});
