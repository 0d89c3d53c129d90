// An edit of the model: asked for the words, told what it would do, agreed to, and taken back.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  const { page } = bench;
  await bench.squiggle();
  await bench.select();

  await bench.command("ACE: Edit the Model: Preview");
  const offered = await bench.input("which words shall the model forget");
  bench.saw("offered", await offered.inputValue());
  await bench.shot("words");
  await page.keyboard.press("Escape");
  await offered.waitFor({ state: "hidden" });

  await bench.command("ACE: Edit the Model: Preview");
  await (await bench.input("which words shall the model forget")).fill("BUG  return");
  await page.keyboard.press("Enter");
  await bench.notification("3 rows change");

  await bench.command("ACE: Edit the Model: Apply");
  await (await bench.input("which words shall the model forget")).fill("BUG");
  await page.keyboard.press("Enter");
  const button = page.locator(".notification-toast").getByRole("button", { name: "Apply" }).first();
  await button.waitFor();
  await bench.shot("question");
  await button.click();
  await bench.noSquiggle();

  await bench.command("ACE: Edit the Model: Undo");
  await bench.squiggle();
});
