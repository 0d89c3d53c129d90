// "ACE: Why" and "ACE: Report": web views beside the code, one of each, that a line number leads back from.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import { Heading, webviewPage } from "./page";

export class Panel implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;
  private shown: vscode.TextDocument | undefined;
  private readonly watching: vscode.Disposable;

  constructor(
    private readonly kind: string,
    private readonly title: string,
  ) {
    this.watching = vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
      if (document === this.shown && contentChanges.length > 0) {
        void this.panel?.webview.postMessage({ stale: true });
      }
    });
  }

  dispose(): void {
    this.watching.dispose();
    this.panel?.dispose();
  }

  /** What is shown; empty before the first time and when it was closed. */
  get html(): string {
    return this.panel?.webview.html ?? "";
  }

  /** Show the server's page about a document, in place of what was there. */
  show(document: vscode.TextDocument, page: string, heading?: Heading): void {
    this.panel ??= this.opened();
    this.shown = document;
    this.panel.webview.html = webviewPage(page, randomBytes(18).toString("base64url"), heading);
    this.panel.reveal(undefined, true);
  }

  private opened(): vscode.WebviewPanel {
    const panel = vscode.window.createWebviewPanel(
      this.kind,
      this.title,
      { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true },
      { enableScripts: true, localResourceRoots: [], enableFindWidget: true },
    );
    panel.onDidDispose(() => {
      this.panel = undefined;
      this.shown = undefined;
    });
    panel.webview.onDidReceiveMessage(({ line }: { line?: unknown }) => {
      if (typeof line === "number" && this.shown !== undefined) {
        void goTo(this.shown, line - 1);
      }
    });
    return panel;
  }
}

async function goTo(document: vscode.TextDocument, line: number): Promise<void> {
  const at = document.validatePosition(new vscode.Position(line, 0));
  const column = vscode.window.visibleTextEditors.find(
    (each) => each.document === document,
  )?.viewColumn;
  await vscode.window.showTextDocument(document, {
    viewColumn: column ?? vscode.ViewColumn.One,
    selection: new vscode.Range(at, at),
  });
}
