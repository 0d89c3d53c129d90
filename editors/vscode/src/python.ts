// Which Python is active, as the Python extensions tell it; nothing of this has to be installed.
//
// Only what is read of their interfaces is declared here. The newer one is asked first:
// ms-python.vscode-python-envs, then ms-python.python.
import * as vscode from "vscode";

interface Environments {
  getEnvironment(
    scope: vscode.Uri | undefined,
  ): Promise<{ execInfo?: { run?: { executable?: string } } } | undefined>;
  onDidChangeEnvironment: vscode.Event<unknown>;
}

interface PythonExtension {
  environments?: {
    getActiveEnvironmentPath(scope?: vscode.Uri): { path: string };
    resolveEnvironment(
      environment: unknown,
    ): Promise<{ executable?: { uri?: vscode.Uri } } | undefined>;
    onDidChangeActiveEnvironmentPath: vscode.Event<unknown>;
  };
}

/** The active interpreter's path; undefined where no extension knows one. */
export async function activeInterpreter(
  scope: vscode.Uri | undefined,
): Promise<string | undefined> {
  const newer = await exportsOf<Environments>("ms-python.vscode-python-envs");
  const environment = await newer?.getEnvironment(scope);
  if (environment?.execInfo?.run?.executable !== undefined) {
    return environment.execInfo.run.executable;
  }
  const older = (await exportsOf<PythonExtension>("ms-python.python"))?.environments;
  const resolved = await older?.resolveEnvironment(older.getActiveEnvironmentPath(scope));
  return resolved?.executable?.uri?.fsPath;
}

/** Have `changed` called when another interpreter is chosen. */
export async function watchInterpreter(changed: () => void): Promise<vscode.Disposable> {
  const newer = await exportsOf<Environments>("ms-python.vscode-python-envs");
  const older = await exportsOf<PythonExtension>("ms-python.python");
  const watching = [
    newer?.onDidChangeEnvironment(changed),
    older?.environments?.onDidChangeActiveEnvironmentPath(changed),
  ];
  return vscode.Disposable.from(...watching.filter((each) => each !== undefined));
}

async function exportsOf<Api>(id: string): Promise<Api | undefined> {
  const extension = vscode.extensions.getExtension<Api | undefined>(id);
  try {
    return await extension?.activate();
  } catch {
    return undefined; // its failure is its own to tell
  }
}
