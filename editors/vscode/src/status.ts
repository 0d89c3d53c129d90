// How ACE is, beside the language in the status bar: state, model and device. A click shows the log.
import * as vscode from "vscode";

/** The params of `experimental/serverStatus`. */
export interface ServerStatus {
  health: "ok" | "warning" | "error";
  quiescent: boolean;
  message: string;
}

export interface Shown {
  text: string;
  detail: string;
  severity: vscode.LanguageStatusSeverity;
  busy: boolean;
}

const SEVERITIES = {
  ok: vscode.LanguageStatusSeverity.Information,
  warning: vscode.LanguageStatusSeverity.Warning,
  error: vscode.LanguageStatusSeverity.Error,
};

/** "paused: ready: qwen on cpu float32" is a state and what is known of it. */
export function shown(status: ServerStatus): Shown {
  const parts = status.message.split(": ");
  const paused = parts[0] === "paused" && parts.length > 1 ? `${parts.shift() ?? ""}, ` : "";
  const state = parts.shift() ?? "";
  return {
    text: `ACE: ${paused}${state === "absent" ? "no model loaded" : state}`,
    detail: parts.join(": "),
    severity: SEVERITIES[status.health],
    busy: !status.quiescent,
  };
}

export class Status implements vscode.Disposable {
  private readonly item = vscode.languages.createLanguageStatusItem("ace.status", {
    language: "python",
  });

  constructor() {
    this.item.name = "ACE";
    this.item.command = { title: "Log", command: "ace.showLogs", tooltip: "Show ACE's log" };
    this.say("starting", { busy: true });
  }

  dispose(): void {
    this.item.dispose();
  }

  /** What the item shows. */
  get now(): Shown {
    const { text, severity, busy, detail } = this.item;
    return { text, severity, busy, detail: detail ?? "" };
  }

  show(status: ServerStatus): void {
    Object.assign(this.item, shown(status));
  }

  /** What the server itself can't say, since it isn't there. */
  say(state: string, more: { detail?: string; failed?: boolean; busy?: boolean } = {}): void {
    Object.assign(this.item, {
      text: `ACE: ${state}`,
      detail: more.detail ?? "",
      busy: more.busy ?? false,
      severity: more.failed ? SEVERITIES.error : SEVERITIES.ok,
    });
  }
}
