// A model that isn't on this machine: asked for, then fetched by `ace model pull`. Nothing is fetched unasked.
import { spawn } from "node:child_process";
import * as vscode from "vscode";
import { Program } from "./discovery";

const DOWNLOAD = "Download";

/** The model that a message of the server's says is missing; undefined where it says nothing of the kind. */
export function missingModel(message: string): string | undefined {
  return /expected the weights of .* run: ace model pull (\S+?)\.?(?:\s|$)/.exec(message)?.[1];
}

/** Whether it was agreed to. */
export async function askToDownload(model: string): Promise<boolean> {
  const message =
    `ACE needs the weights of ${model}, which are not on this machine. ` +
    "Download them now? (The default model is 491 MB.)";
  const chosen = await vscode.window.showInformationMessage(message, DOWNLOAD, "Not Now");
  return chosen === DOWNLOAD;
}

/** Fetch a model with a progress bar; false when it was cancelled. Rejects with the program's last words. */
export async function download(
  ace: Program,
  model: string,
  log: vscode.LogOutputChannel,
): Promise<boolean> {
  const options = {
    location: vscode.ProgressLocation.Notification,
    title: `ACE: ${model}`,
    cancellable: true,
  };
  return await vscode.window.withProgress(options, async (progress, token) => {
    let share = 0;
    const line = (text: string) => {
      log.info(text);
      const now = shareOf(text);
      progress.report({
        message: text.replace(/^ace: /, ""),
        increment: Math.max(0, 100 * (now - share)),
      });
      share = Math.max(share, now);
    };
    return await pulled(ace, model, line, token);
  });
}

/** "49 MB of 491 MB" as a share; 0 where a line has none. */
export function shareOf(line: string): number {
  const match = /([\d,.]+) MB of ([\d,.]+) MB/.exec(line);
  const [done, whole] = (match?.slice(1) ?? []).map((each) => Number(each.replaceAll(",", "")));
  return done !== undefined && whole ? Math.min(1, done / whole) : 0;
}

function pulled(
  ace: Program,
  model: string,
  line: (text: string) => void,
  token: vscode.CancellationToken,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(ace.command, [...ace.args, "model", "pull", model], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let last = "";
    const cancelling = token.onCancellationRequested(() => child.kill("SIGINT"));
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text: string) => {
      for (const each of text.split(/[\r\n]+/).filter((part) => part.trim())) {
        last = each;
        line(each);
      }
    });
    child.on("error", reject);
    child.on("close", (code) => {
      cancelling.dispose();
      if (code === 0 || token.isCancellationRequested) {
        resolve(code === 0);
      } else {
        reject(new Error(last || `ace model pull ended with exit code ${String(code)}`));
      }
    });
  });
}
