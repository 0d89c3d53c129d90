// Finds a program that is ace-lsp: by trying, since a path alone says nothing of what is installed.
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as vscode from "vscode";
import { activeInterpreter } from "./python";
import { ProcessSettings } from "./settings";

export const INSTALL = "pip install 'ace-lsp[engine]'";

/** `-P`: a module of the opened folder must not stand in for one of ours. */
const MODULE = ["-P", "-m", "ace_lsp"];
const CLI = ["-P", "-c", "from ace_analysis.cli import main; main()"];
const PATIENCE = 20_000;

export interface Program {
  command: string;
  args: string[];
}

export interface Found {
  server: Program;
  /** The command line `ace` beside the server; undefined where there is none. */
  cli: Program | undefined;
  version: string;
  /** The setting or place that it comes from. */
  from: string;
}

interface Candidate {
  server: Program;
  cli: Program | undefined;
  from: string;
}

export interface NotFound {
  /** What was tried, a line each with what came of it. */
  tried: string[];
}

/** The first candidate that says its version. */
export async function findServer(settings: ProcessSettings): Promise<Found | NotFound> {
  const tried: string[] = [];
  for (const candidate of await candidates(settings)) {
    const { server, from } = candidate;
    try {
      return { ...candidate, version: await versionOf(server) };
    } catch (error) {
      tried.push(`${from}: ${[server.command, ...server.args].join(" ")}: ${lastLine(error)}`);
    }
  }
  return { tried };
}

async function candidates(settings: ProcessSettings): Promise<Candidate[]> {
  const found = settings.path.map((program) => executable(program, "ace.path"));
  const [python, ...args] = settings.interpreter;
  if (python !== undefined) {
    found.push(interpreter(python, args, "ace.interpreter"));
  }
  // An environment inside a folder that isn't trusted would run the folder's code.
  const active = vscode.workspace.isTrusted
    ? await activeInterpreter(vscode.workspace.workspaceFolders?.[0]?.uri)
    : undefined;
  if (active !== undefined) {
    found.push(interpreter(active, [], "the active Python environment"));
  }
  const onPath = which(process.platform === "win32" ? "ace-lsp.exe" : "ace-lsp");
  if (onPath !== undefined) {
    found.push(executable(onPath, "PATH"));
  }
  return found;
}

function executable(program: string, from: string): Candidate {
  return { server: { command: program, args: [] }, cli: besides(program), from };
}

function interpreter(python: string, args: string[], from: string): Candidate {
  return {
    server: { command: python, args: [...args, ...MODULE] },
    cli: { command: python, args: [...args, ...CLI] },
    from,
  };
}

function besides(program: string): Program | undefined {
  try {
    const real = fs.realpathSync(program);
    const ace = path.join(path.dirname(real), process.platform === "win32" ? "ace.exe" : "ace");
    return fs.existsSync(ace) ? { command: ace, args: [] } : undefined;
  } catch {
    return undefined;
  }
}

function which(name: string): string | undefined {
  const folders = (process.env.PATH ?? "")
    .split(path.delimiter)
    .filter((each) => path.isAbsolute(each));
  return folders.map((folder) => path.join(folder, name)).find((each) => fs.existsSync(each));
}

async function versionOf(server: Program): Promise<string> {
  const run = promisify(execFile);
  const { stdout } = await run(server.command, [...server.args, "--version"], {
    timeout: PATIENCE,
  });
  const version = /^ace-lsp (\S+)/.exec(stdout)?.[1];
  if (version === undefined) {
    throw new Error(
      `expected "ace-lsp" and a version, got ${JSON.stringify(stdout.slice(0, 100))}`,
    );
  }
  return version;
}

function lastLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return (stderr?.trim() ? stderr : message).trim().split("\n").at(-1) ?? "";
}
