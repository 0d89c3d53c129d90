// A folder that a person does not trust, with settings that name programs of its own.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  const dialog = bench.page.locator(".monaco-dialog-box", { hasText: "trust the authors" }).first();
  const restricted = bench.page.getByText("Restricted Mode").first(); // a newer VS Code doesn't ask
  await dialog.or(restricted).first().waitFor();
  if (await dialog.isVisible()) {
    await dialog.getByRole("button", { name: "No, I don't trust the authors" }).click();
  }
  await restricted.waitFor();
  await bench.squiggle(60_000);
  await bench.status("ACE: ready");
});
