// What the server tells of its progress, shown where a person waits for it and can cancel.
//
// VS Code shows a server's own progress in the status bar, where nothing can be cancelled. For a command that a
// person has run it is shown in the command's notification instead.
import * as vscode from "vscode";

type Progress = vscode.Progress<{ message?: string; increment?: number }>;

/** The parameters of `$/progress` for work that the server began. */
export interface Told {
  kind: "begin" | "report" | "end";
  message?: string;
  percentage?: number;
}

export class Bars {
  private watching: Progress | undefined;
  private done = 0;

  /** Show in `progress` what is told from now on, until the answer is disposed of. */
  watch(progress: Progress): vscode.Disposable {
    this.watching = progress;
    this.done = 0;
    return new vscode.Disposable(() => {
      this.watching = this.watching === progress ? undefined : this.watching;
    });
  }

  /** Whether somebody is shown it here. */
  tell({ message, percentage }: Told): boolean {
    if (this.watching === undefined) {
      return false;
    }
    const increment = Math.max(0, (percentage ?? 0) - this.done);
    this.done += increment;
    this.watching.report({ increment, ...(message === undefined ? {} : { message }) });
    return true;
  }
}
