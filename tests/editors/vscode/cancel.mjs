// A run over the workspace, ended by its cancel button.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  await bench.squiggle();
  await bench.command("ACE: Analyse the Workspace");
  const toast = await bench.notification("analysing the workspace");
  await toast
    .getByText(/ of \d+/)
    .first()
    .waitFor();
  bench.saw("progress", await toast.innerText());
  await bench.shot("progress");
  await toast.hover();
  await toast.getByRole("button", { name: "Cancel" }).first().click();
  await toast.waitFor({ state: "hidden" });
});
