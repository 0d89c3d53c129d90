// A download that a person cancels, and one that fails; both asked for by the command.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  await bench.squiggle();
  for (const [seen, what] of [
    ["100 MB of 491 MB", "cancelled"],
    ["was not downloaded", "failed"],
  ]) {
    await bench.command("ACE: Download the Model");
    const question = await bench.notification("ACE needs the weights of");
    await question.getByRole("button", { name: "Download" }).click();
    const told = await bench.notification(seen);
    if (what === "cancelled") {
      await told.hover();
      await told.getByRole("button", { name: "Cancel" }).first().click();
      await told.waitFor({ state: "hidden" });
    }
  }
});
