// The first run without a server: one message with the install command, and a status that says so.
import { Workbench } from "./workbench.mjs";

await Workbench.walk("sample.py", async (bench) => {
  await bench.notification("language server was not found");
  await bench.shot("absent");
  await bench.command("ACE: Restart the Server");
  await bench.status("ACE: not installed");
  const toasts = bench.page.locator(".notification-toast", { hasText: "was not found" });
  bench.saw("messages", String(await toasts.count()));
});
