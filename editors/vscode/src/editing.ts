// Edits of the model's weights from the editor: shown before they are made, and undone.
import { Server } from "./server";

export async function editModel(
  server: Server,
  verb: "preview" | "apply",
  args: unknown[],
): Promise<unknown> {
  return await server.run(`ace.edit.${verb}`, ...args);
}

export async function undoEdit(server: Server, args: unknown[]): Promise<unknown> {
  return await server.run("ace.edit.undo", ...args);
}
