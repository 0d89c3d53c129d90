// A folder that a person does not trust, with settings that name programs of its own.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  const dialog = bench.page.locator(".monaco-dialog-box", { hasText: "trust the authors" }).first();
  await dialog.waitFor();
  await dialog.getByRole("button", { name: "No, I don't trust the authors" }).click();
  await bench.squiggle(60_000);
  await bench.status("ACE: ready");
});
