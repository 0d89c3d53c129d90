// Edits of the model's weights from the editor: shown before they are made, and undone.
import * as vscode from "vscode";
import { activeUri } from "./places";
import { Server } from "./server";

/** Preview or make an edit; without arguments, of the words that a person names. */
export async function editModel(
  server: Server,
  verb: "preview" | "apply",
  args: unknown[],
): Promise<unknown> {
  const asked = args.length > 0 ? args : await wordsToForget();
  return asked === undefined ? undefined : await server.run(`ace.edit.${verb}`, ...asked);
}

export async function undoEdit(server: Server, args: unknown[]): Promise<unknown> {
  return await server.run("ace.edit.undo", ...args);
}

async function wordsToForget(): Promise<[object] | undefined> {
  const editor = vscode.window.activeTextEditor;
  const said = await vscode.window.showInputBox({
    title: "ACE: which words shall the model forget?",
    prompt: "One token each, with spaces between. The open file has to have them.",
    value: editor?.document.getText(editor.selection) ?? "",
  });
  const words = said?.split(/\s+/).filter((word) => word !== "") ?? [];
  return words.length > 0 ? [{ words, uri: activeUri() }] : undefined;
}
