// The commands `ace.*`: named as the server's are, with what the palette doesn't give filled in from the
// editor. Code actions and lenses of the server's run them with arguments.
import * as path from "node:path";
import * as vscode from "vscode";
import { Panel } from "./panel";
import { modelSet, Server } from "./server";
import { askToDownload } from "./download";
import { switchModel } from "./models";
import { activeUri, cursor, placeToFix, plainPosition } from "./places";
import { editModel, undoEdit } from "./editing";

interface Explanation {
  html?: string;
  attribution: {
    target: { text: string; kind: string; finding_kind: string | null; probability: number | null };
  };
}

interface Options {
  show?: boolean;
}

export interface Panels {
  why: Panel;
  report: Panel;
}

type Handler = (...args: never[]) => unknown;

/** Every command of the manifest's by its name. */
export function commandsOf(
  server: Server,
  panels: Panels,
  log: vscode.LogOutputChannel,
): Record<string, Handler> {
  const plain = (name: string) => () => server.run(name);
  return {
    "ace.analyzeFile": (uri?: string) => analyzeFile(server, uri),
    "ace.analyzeWorkspace": () => analyzeWorkspace(server),
    "ace.explainHere": (uri?: string, position?: vscode.Position, options?: Options) =>
      explainHere(server, panels.why, uri, position, options),
    "ace.regenerate": (uri?: string, where?: vscode.Range, options?: object) =>
      regenerate(server, uri, where, options),
    "ace.report": (uri?: string, options?: Options) => report(server, panels.report, uri, options),
    "ace.switchModel": (name?: string) => switchModel(server, name),
    "ace.downloadModel": (name?: string) => downloadModel(server, name),
    "ace.edit.preview": (...args: unknown[]) => editModel(server, "preview", args),
    "ace.edit.apply": (...args: unknown[]) => editModel(server, "apply", args),
    "ace.edit.undo": (...args: unknown[]) => undoEdit(server, args),
    "ace.pause": plain("ace.pause"),
    "ace.resume": plain("ace.resume"),
    "ace.restartWorker": plain("ace.restartWorker"),
    "ace.showStatus": (options?: Options) => server.run("ace.showStatus", options ?? null),
    "ace.restart": () => server.restart(),
    "ace.showLogs": () => {
      log.show();
    },
  };
}

async function analyzeFile(server: Server, uri = activeUri()): Promise<unknown> {
  if (uri === undefined) {
    return undefined;
  }
  const summary = await server.run<{ findings: number }>("ace.analyzeFile", uri);
  if (summary !== undefined) {
    vscode.window.setStatusBarMessage(`ACE: ${counted(summary.findings, "finding")}`, 5000);
  }
  return summary;
}

async function analyzeWorkspace(server: Server): Promise<unknown> {
  return await server.runLong("analysing the workspace", "ace.analyzeWorkspace");
}

async function explainHere(
  server: Server,
  panel: Panel,
  uri = activeUri(),
  position: vscode.Position | undefined = cursor(),
  options: Options = {},
): Promise<unknown> {
  if (uri === undefined || position === undefined) {
    return undefined;
  }
  if (options.show === false) {
    return await server.run("ace.explainHere", uri, plainPosition(position), options);
  }
  const wanted = { show: false, html: true };
  const told = await server.run<Explanation>(
    "ace.explainHere",
    uri,
    plainPosition(position),
    wanted,
  );
  if (told?.html !== undefined) {
    const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(uri));
    panel.show(document, told.html, headingOf(told, document, position));
  }
  return told;
}

function headingOf(told: Explanation, document: vscode.TextDocument, position: vscode.Position) {
  const { text, finding_kind: kind, probability } = told.attribution.target;
  const sure = probability === null ? "" : `, probability ${probability.toFixed(2)}`;
  const marked = kind === null ? "" : ` · ${kind.replaceAll("-", " ")}${sure}`;
  return {
    title: kind === null ? `What the model expects at “${text}”` : `Why “${text}” is marked`,
    place: `${path.basename(document.uri.path)}, line ${String(position.line + 1)}${marked}`,
  };
}

async function regenerate(
  server: Server,
  uri = activeUri(),
  where: vscode.Range | undefined = placeToFix(),
  options?: object,
): Promise<unknown> {
  if (uri === undefined || where === undefined) {
    return undefined;
  }
  const range = { start: plainPosition(where.start), end: plainPosition(where.end) };
  return await server.runLong("writing a fix", "ace.regenerate", uri, range, options ?? null);
}

async function report(
  server: Server,
  panel: Panel,
  uri = activeUri(),
  options: Options = {},
): Promise<unknown> {
  if (uri === undefined) {
    return undefined;
  }
  const made = await server.runLong<{ uri: string }>("making the report", "ace.report", uri, {
    show: false,
  });
  if (made !== undefined && options.show !== false) {
    const page = await vscode.workspace.fs.readFile(vscode.Uri.parse(made.uri));
    const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(uri));
    panel.show(document, new TextDecoder().decode(page));
  }
  return made;
}

async function downloadModel(server: Server, name = modelSet()): Promise<void> {
  if (await askToDownload(name)) {
    await server.fetch(name);
  }
}

function counted(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? "" : "s"}`;
}
