// A folder that a person does not trust, with settings that name programs of its own.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  const { page } = bench;
  const dialog = page.locator(".monaco-dialog-box", { hasText: "trust the authors" }).first();
  // It comes when it comes, and in a newer VS Code never.
  await page.addLocatorHandler(dialog, async () => {
    await dialog.getByRole("button", { name: "No, I don't trust the authors" }).click();
  });
  await page.getByText("Restricted Mode").first().waitFor();
  await bench.squiggle();
  await bench.status("ACE: ready");
});
