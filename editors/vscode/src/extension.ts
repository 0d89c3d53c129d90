// ACE in VS Code: starts the language server and shows what it finds.
import * as vscode from "vscode";
import { commandsOf } from "./commands";
import { Found } from "./discovery";
import { Panel } from "./panel";
import { watchInterpreter } from "./python";
import { Server } from "./server";
import { needsNewServer } from "./settings";
import { Shown } from "./status";

/** For other extensions and for tests. */
export interface Api {
  restart(): Promise<void>;
  status(): Shown;
  /** The server that runs, and where it was found. */
  server(): Found | undefined;
  why(): string;
  report(): string;
}

let server: Server | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const log = vscode.window.createOutputChannel("ACE Server", { log: true });
  const panels = {
    why: new Panel("ace.why", "ACE: Why"),
    report: new Panel("ace.report", "ACE: Report"),
  };
  const running = (server = new Server(context.extension.packageJSON, log));
  const restart = () => running.restart();
  context.subscriptions.push(
    log,
    panels.why,
    panels.report,
    ...Object.entries(commandsOf(running, panels, log)).map(([name, handler]) =>
      vscode.commands.registerCommand(name, handler),
    ),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (needsNewServer(event)) {
        void restart();
      }
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(restart),
  );
  const starting = restart();
  context.subscriptions.push(await watchInterpreter(() => void running.interpreterChanged()));
  await starting;
  return {
    restart,
    status: () => running.status.now,
    server: () => running.found,
    why: () => panels.why.html,
    report: () => panels.report.html,
  };
}

export async function deactivate(): Promise<void> {
  await server?.close();
}
