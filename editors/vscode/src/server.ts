// The server's life: found, started, told of, and started again, one start after the other.
import * as vscode from "vscode";
import {
  ExecuteCommandRequest,
  LanguageClient,
  LSPErrorCodes,
  MessageType,
  ResponseError,
  ShowMessageNotification,
  ShowMessageParams,
  State,
} from "vscode-languageclient/node";
import { Bars } from "./bars";
import { clientOf } from "./client";
import { findServer, Found, INSTALL, NotFound } from "./discovery";
import { askToDownload, download, missingModel } from "./download";
import { DEFAULT_MODEL, enabledSomewhere, processSettings, SECTION } from "./settings";
import { ServerStatus, Status } from "./status";

const STOP_PATIENCE = 3_000;

export class Server {
  readonly status = new Status();
  private readonly bars = new Bars();
  client: LanguageClient | undefined;
  found: Found | undefined;
  private next: Promise<void> | undefined;
  private last: Promise<void> = Promise.resolve();
  private saidNotFound = false;
  private asking = false;

  constructor(
    private readonly manifest: unknown,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** Start, or start anew. A call while another waits for its turn is the same one. */
  restart(): Promise<void> {
    this.next ??= this.last.then(() => {
      this.next = undefined;
      return this.startAnew();
    });
    this.last = this.next.catch((error: unknown) => {
      this.log.error(String(error));
      this.status.say("stopped", { detail: reason(error), failed: true });
    });
    return this.last;
  }

  async close(): Promise<void> {
    await this.last;
    await this.stop();
    this.status.dispose();
  }

  /** Start anew if another program is the server now. */
  async interpreterChanged(): Promise<void> {
    await this.last;
    const before = this.found?.server;
    const found = await findServer(processSettings());
    const now = "tried" in found ? undefined : found.server;
    if (JSON.stringify(before) !== JSON.stringify(now)) {
      await this.restart();
    }
  }

  /** The answer of one of the server's commands; undefined when it was cancelled or there is no server. VS Code shows errors. */
  async run<Answer>(command: string, ...args: unknown[]): Promise<Answer | undefined> {
    return await this.ask<Answer>(command, args, undefined);
  }

  /** The same for what takes long: with a progress bar that can be cancelled. */
  async runLong<Answer>(
    title: string,
    command: string,
    ...args: unknown[]
  ): Promise<Answer | undefined> {
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: `ACE: ${title}`,
      cancellable: true,
    };
    return await vscode.window.withProgress(options, async (progress, token) => {
      const watching = this.bars.watch(progress);
      try {
        return await this.ask<Answer>(command, args, token);
      } finally {
        watching.dispose();
      }
    });
  }

  private async ask<Answer>(
    command: string,
    args: unknown[],
    token: vscode.CancellationToken | undefined,
  ): Promise<Answer | undefined> {
    await this.last;
    if (this.client?.state !== State.Running) {
      void this.sayNotRunning();
      return undefined;
    }
    try {
      const params = { command, arguments: args };
      return (await this.client.sendRequest(ExecuteCommandRequest.type, params, token)) as Answer;
    } catch (error) {
      if (error instanceof ResponseError && error.code === LSPErrorCodes.RequestCancelled) {
        return undefined;
      }
      this.log.error(`${command}: ${reason(error)}`);
      throw new Error(`ACE: ${reason(error)}`, { cause: error });
    }
  }

  /** Fetch a model's weights, when a person has agreed to it, and have them loaded. */
  async fetch(model: string): Promise<void> {
    if (this.found?.cli === undefined) {
      void vscode.window.showWarningMessage(`ACE: run this in a terminal: ace model pull ${model}`);
      return;
    }
    try {
      if (await download(this.found.cli, model, this.log)) {
        await this.run("ace.restartWorker");
      }
    } catch (error) {
      void vscode.window.showErrorMessage(`ACE: ${model} was not downloaded: ${reason(error)}`);
    }
  }

  private async startAnew(): Promise<void> {
    await this.stop();
    if (!enabledSomewhere()) {
      this.status.say("off", { detail: "ace.enable is false" });
      return;
    }
    this.status.say("starting", { busy: true });
    const settings = processSettings();
    const found = await findServer(settings);
    if ("tried" in found) {
      this.sayNotFound(found);
      return;
    }
    this.found = found;
    this.log.info(`ace-lsp ${found.version} from ${found.from}: ${found.server.command}`);
    const client = clientOf({
      found,
      settings,
      manifest: this.manifest,
      log: this.log,
      bars: this.bars,
    });
    this.listen(client);
    this.client = client;
    await client.start();
    const known = client.initializeResult?.capabilities.executeCommandProvider?.commands ?? [];
    await vscode.commands.executeCommand(
      "setContext",
      "ace.edits",
      known.includes("ace.edit.apply"),
    );
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = this.found = undefined;
    if (client === undefined) {
      return;
    }
    try {
      await client.dispose(STOP_PATIENCE);
    } catch (error) {
      this.log.warn(`the server did not stop as it should: ${reason(error)}`);
    }
  }

  private listen(client: LanguageClient): void {
    client.onNotification("experimental/serverStatus", (status: ServerStatus) => {
      this.status.show(status);
    });
    client.onNotification(ShowMessageNotification.type, (params) => {
      const missing = missingModel(params.message);
      if (missing !== undefined && !runsElsewhere()) {
        void this.offer(missing);
      } else {
        showMessage(params);
      }
    });
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Stopped && this.client === client) {
        this.status.say("stopped", { detail: "the server ended", failed: true });
      } else if (newState === State.Running) {
        this.status.say("no model loaded", { detail: "it is loaded when Python code is opened" });
      }
    });
  }

  private async offer(model: string): Promise<void> {
    if (this.asking) {
      return;
    }
    this.asking = true;
    try {
      if (await askToDownload(model)) {
        await this.fetch(model);
      }
    } finally {
      this.asking = false;
    }
  }

  private sayNotFound({ tried }: NotFound): void {
    this.status.say("not installed", { detail: INSTALL, failed: true });
    for (const line of tried) {
      this.log.warn(line);
    }
    if (this.saidNotFound) {
      return;
    }
    this.saidNotFound = true;
    const [settings, terminal, log] = ["Open Settings", "Open Terminal", "Show Log"];
    const message =
      `ACE's language server was not found. Install it: ${INSTALL} ` +
      '(or set ace.interpreter), then run "ACE: Restart the Server".';
    void vscode.window.showErrorMessage(message, terminal, settings, log).then((chosen) => {
      if (chosen === settings) {
        void vscode.commands.executeCommand("workbench.action.openSettings", "ace.interpreter");
      } else if (chosen === terminal) {
        const opened = vscode.window.createTerminal("ACE");
        opened.show();
        opened.sendText(INSTALL, false); // whose Python it goes into is for the person to see to
      } else if (chosen === log) {
        this.log.show(true);
      }
    });
  }

  private async sayNotRunning(): Promise<void> {
    const message = `ACE's language server is not running (${this.status.now.text}).`;
    const chosen = await vscode.window.showWarningMessage(message, "Restart", "Show Log");
    if (chosen === "Restart") {
      await this.restart();
    } else if (chosen === "Show Log") {
      this.log.show(true);
    }
  }
}

/** The model that is set. */
export function modelSet(): string {
  return vscode.workspace.getConfiguration(SECTION).get<string>("model.name", DEFAULT_MODEL);
}

/** Whether the model is on another machine, where nothing can be fetched from here. */
function runsElsewhere(): boolean {
  const settings = vscode.workspace.getConfiguration(SECTION);
  return settings.get<string[]>("worker.command", []).length > 0;
}

function showMessage({ type, message }: ShowMessageParams): void {
  if (type === MessageType.Error) {
    void vscode.window.showErrorMessage(message);
  } else if (type === MessageType.Warning) {
    void vscode.window.showWarningMessage(message);
  } else {
    void vscode.window.showInformationMessage(message);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
