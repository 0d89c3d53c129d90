// A real VS Code's workbench in a headless Chromium: what both drivers share.
import { chromium } from "playwright-core";

export const { BASE, WORKSPACE } = process.env;

/** An address of VS Code's for a path on the server's machine. */
export const remote = (path) => `vscode-remote://${new URL(BASE).host}${path}`;

export async function browser() {
  return await chromium.launch({
    executablePath: process.env.CHROMIUM,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** The workbench's address, with the workspace open and a payload as VS Code's own tests use it. */
export function address(payload) {
  const what = WORKSPACE.endsWith(".code-workspace") ? "workspace" : "folder";
  return `${BASE}/?${what}=${WORKSPACE}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
}
