// The language client: what it tells the server of itself and of the settings, and what it leaves to us.
import * as vscode from "vscode";
import {
  DynamicFeature,
  ExecuteCommandRequest,
  FeatureState,
  LanguageClient,
  LanguageClientOptions,
  RevealOutputChannelOn,
  StaticFeature,
} from "vscode-languageclient/node";
import { Bars } from "./bars";
import { Found } from "./discovery";
import { ProcessSettings, SECTION, settingsOf } from "./settings";

const PYTHON = ["file", "untitled", "vscode-notebook", "vscode-notebook-cell"].map((scheme) => ({
  scheme,
  language: "python",
}));

class AceClient extends LanguageClient {
  /**
   * Without the feature that makes a command of VS Code's from each of the server's: ours have the same
   * names, fill in what the palette doesn't give, and are there when the server is not.
   */
  override registerFeature(feature: StaticFeature | DynamicFeature<unknown>): void {
    if (
      DynamicFeature.is(feature) &&
      feature.registrationType.method === ExecuteCommandRequest.method
    ) {
      return;
    }
    super.registerFeature(feature);
  }
}

const TELLS_STATUS: StaticFeature = {
  fillClientCapabilities(capabilities) {
    const before = (capabilities.experimental ?? {}) as object;
    capabilities.experimental = { ...before, serverStatusNotification: true };
  },
  initialize: () => undefined,
  getState: (): FeatureState => ({ kind: "static" }),
  clear: () => undefined,
};

export interface Parts {
  found: Found;
  settings: ProcessSettings;
  manifest: unknown;
  log: vscode.LogOutputChannel;
  bars: Bars;
}

/** A client of the server that was found; not started yet. */
export function clientOf({ found, settings, manifest, log, bars }: Parts): LanguageClient {
  const options: LanguageClientOptions = {
    documentSelector: PYTHON,
    outputChannel: log,
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    initializationOptions: settingsOf(manifest, undefined),
    middleware: {
      handleWorkDoneProgress: (token, told, next) => {
        if (!bars.tell(told) || told.kind === "end") {
          next(token, told);
        }
      },
      workspace: {
        configuration: (params) =>
          params.items.map((item) =>
            item.section === SECTION
              ? settingsOf(manifest, item.scopeUri ? vscode.Uri.parse(item.scopeUri) : undefined)
              : null,
          ),
      },
    },
  };
  const logFile = settings.logFile === null ? [] : ["--log-file", settings.logFile];
  const args = ["--log-level", settings.logLevel, ...logFile, ...settings.args];
  const server = { command: found.server.command, args: [...found.server.args, ...args] };
  const client = new AceClient(SECTION, "ACE", server, options);
  client.registerFeature(TELLS_STATUS);
  return client;
}
