// Where a person is: what the palette's commands are about.
import * as vscode from "vscode";

/** The selection, or the finding that the cursor is at, or the cursor's line. */
export function placeToFix(): vscode.Range | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor?.selection.isEmpty) {
    return editor?.selection;
  }
  const at = editor.selection.active;
  const found = vscode.languages
    .getDiagnostics(editor.document.uri)
    .find((each) => each.source === "ace" && each.range.contains(at));
  return found?.range ?? editor.document.lineAt(at.line).range;
}

/** The document's address; undefined, and said, where it is no Python. */
export function activeUri(): string | undefined {
  const document = vscode.window.activeTextEditor?.document;
  if (document?.languageId !== "python") {
    void vscode.window.showInformationMessage("ACE: open a Python file first.");
    return undefined;
  }
  return document.uri.toString();
}

/** As it goes over the wire, whether it comes from VS Code or from the server. */
export function plainPosition({ line, character }: vscode.Position): {
  line: number;
  character: number;
} {
  return { line, character };
}

/** Where the cursor is. */
export function cursor(): vscode.Position | undefined {
  return vscode.window.activeTextEditor?.selection.active;
}
