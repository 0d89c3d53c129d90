// Which models there are to choose from, as the command line lists them.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as vscode from "vscode";
import { Program } from "./discovery";
import { Server } from "./server";

interface Listed {
  name: string;
  about: string;
  installed: boolean;
}

/** Take another model until the server ends; without a name, ask for one. */
export async function switchModel(server: Server, name?: string): Promise<unknown> {
  const chosen = name ?? (await chosenModel(server));
  return chosen === undefined ? undefined : await server.run("ace.switchModel", chosen || null);
}

async function chosenModel(server: Server): Promise<string | undefined> {
  const other = "Another one…";
  const listed = server.found?.cli === undefined ? [] : await models(server.found.cli);
  const items = [
    { label: "The model of the settings", name: "" },
    ...listed.map(({ name, about, installed }) => ({
      label: name,
      description: installed ? about : `${about} (not downloaded)`,
      name,
    })),
    { label: other, description: "a hub name, a folder, a GGUF file or an edited model" },
  ];
  const chosen = await vscode.window.showQuickPick(items, { title: "ACE: which model?" });
  return chosen?.label === other
    ? await vscode.window.showInputBox({ title: "ACE: which model?" })
    : chosen?.name;
}

async function models(ace: Program): Promise<Listed[]> {
  try {
    const run = promisify(execFile);
    const { stdout } = await run(ace.command, [...ace.args, "model", "list", "--json"]);
    return JSON.parse(stdout) as Listed[];
  } catch {
    return []; // a name can still be typed
  }
}
