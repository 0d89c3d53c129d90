// What is set in VS Code, as far as the extension or the server reads it.
//
// The server is told only what somebody has set: a default of VS Code's would otherwise beat what the
// project's own pyproject.toml says.
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";

export const SECTION = "ace";
export const DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct";

/** Settings that only a new server process sees. */
const OF_THE_PROCESS = ["enable", "path", "interpreter", "args", "logLevel", "logFile"];

/** What is read of package.json. */
interface Manifest {
  contributes: { configuration: { properties: Record<string, unknown> } };
  capabilities: { untrustedWorkspaces: { restrictedConfigurations: string[] } };
}

export interface ProcessSettings {
  path: string[];
  interpreter: string[];
  args: string[];
  logLevel: string;
  logFile: string | null;
}

export function processSettings(): ProcessSettings {
  const settings = vscode.workspace.getConfiguration(SECTION);
  return {
    path: settings.get<string[]>("path", []).map(expanded),
    interpreter: settings.get<string[]>("interpreter", []).map(expanded),
    args: settings.get<string[]>("args", []).map(expanded),
    logLevel: settings.get<string>("logLevel", "info"),
    logFile: settings.get<string | null>("logFile", null),
  };
}

/** Whether ACE is to run in any folder at all. */
export function enabledSomewhere(): boolean {
  const folders = vscode.workspace.workspaceFolders ?? [undefined];
  return folders.some((folder) =>
    vscode.workspace.getConfiguration(SECTION, folder).get<boolean>("enable", true),
  );
}

export function needsNewServer(event: vscode.ConfigurationChangeEvent): boolean {
  return OF_THE_PROCESS.some((name) => event.affectsConfiguration(`${SECTION}.${name}`));
}

/** What somebody has set for a place, by section as the server reads it. */
export function settingsOf(manifest: unknown, scope: vscode.Uri | undefined): object {
  const { contributes, capabilities } = manifest as Manifest;
  const settings = vscode.workspace.getConfiguration(undefined, scope ?? null);
  const restricted = vscode.workspace.isTrusted
    ? []
    : capabilities.untrustedWorkspaces.restrictedConfigurations;
  const found: Record<string, unknown> = {};
  for (const name of Object.keys(contributes.configuration.properties)) {
    const value = valueSet(settings, name, restricted.includes(name));
    if (value !== undefined && value !== null) {
      put(found, name.split(".").slice(1), value);
    }
  }
  return found;
}

function valueSet(settings: vscode.WorkspaceConfiguration, name: string, own: boolean): unknown {
  const set = settings.inspect(name);
  return own
    ? set?.globalValue
    : (set?.workspaceFolderValue ?? set?.workspaceValue ?? set?.globalValue);
}

function put(into: Record<string, unknown>, names: string[], value: unknown): void {
  const [first, ...rest] = names;
  if (first === undefined) {
    return;
  }
  if (rest.length === 0) {
    into[first] = value;
    return;
  }
  const inner = (into[first] ??= {}) as Record<string, unknown>;
  put(inner, rest, value);
}

function expanded(text: string): string {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
  const whole = text
    .replaceAll("${workspaceFolder}", folder)
    .replaceAll("${userHome}", os.homedir());
  return whole === "~" || whole.startsWith("~/") ? path.join(os.homedir(), whole.slice(1)) : whole;
}
