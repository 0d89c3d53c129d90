// Tests that run inside the extension host; VS Code calls run() (extensionTestsPath). The extension is the
// packaged one, the server a real process, its worker tests/protocol/scripted_worker.py. Each test's outcome is
// a line of JSON in $ACE_HOST_RESULTS, which test_vscode.py reads: one test there for each `test(...)` here.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const vscode = require("vscode");

const PATIENCE = 240_000;
const { ACE_HOST_RESULTS: RESULTS, ACE_JOURNAL: JOURNAL, ACE_STARTS: STARTS } = process.env;
const BUGGY = "def f(a):\n    return BUG\n";
const tests = [];
const test = (name, body) => tests.push([name, body]);
const ofFolders = [];
/** A test for a workspace of two folders, the second one inside the first. */
const testOfFolders = (name, body) => ofFolders.push([name, body]);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const run = (name, ...args) => vscode.commands.executeCommand(name, ...args);
const settings = () => vscode.workspace.getConfiguration("ace");
const lines = (file) =>
  fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
const journal = (what) =>
  lines(JOURNAL)
    .map((line) => JSON.parse(line))
    .filter((line) => line.what === what);
const findings = (uri) => vscode.languages.getDiagnostics(uri).filter((each) => each.source === "ace");
let api;
let count = 0;

async function until(what, ask) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${PATIENCE / 1000} s for ${what}`);
    await sleep(50);
  }
}

/** A file of the workspace, open in the editor. */
async function opened(text, root = vscode.workspace.workspaceFolders[0].uri) {
  const uri = vscode.Uri.joinPath(root, `file${++count}.py`);
  await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
  const document = await vscode.workspace.openTextDocument(uri);
  const editor = await vscode.window.showTextDocument(document, vscode.ViewColumn.One);
  return { uri, document, editor };
}

async function found(text, root) {
  const all = await opened(text, root);
  const [finding] = await until("a finding", () => findings(all.uri).length && findings(all.uri));
  return { ...all, finding };
}

async function actions({ uri, finding }) {
  return await run("vscode.executeCodeActionProvider", uri, finding.range);
}

test("the extension starts with the first python file and says model, device and state", async () => {
  await found(BUGGY);
  await until("the status", () => api.status().text === "ACE: ready");
  assert.match(api.status().detail, /^qwen2\.5-coder-0\.5b-instruct on cpu float32$/);
  assert.equal(api.status().severity, vscode.LanguageStatusSeverity.Information);
  assert.equal(api.status().busy, false);
});

test("a finding is a diagnostic once, with a page about its kind", async () => {
  const { uri, finding } = await found(BUGGY);
  await sleep(500);
  assert.equal(findings(uri).length, 1);
  assert.deepEqual(finding.range, new vscode.Range(1, 11, 1, 14));
  assert.equal(finding.code.value, "comparison");
  assert.match(finding.code.target.fsPath, /comparison\.md$/);
});

test("hovering tells what is behind a finding", async () => {
  const { uri, finding } = await found(BUGGY);
  const told = async () => {
    const hovers = await run("vscode.executeHoverProvider", uri, finding.range.start);
    return hovers.flatMap((hover) => hover.contents.map((each) => each.value)).join("\n");
  };
  assert.match(
    await until("a whole explanation", async () => /Unexplained/.test(await told()) && told()),
    /latent 7/,
  );
});

test("a finding in an untitled document is found too", async () => {
  const document = await vscode.workspace.openTextDocument({ language: "python", content: BUGGY });
  await vscode.window.showTextDocument(document);
  await until("a finding", () => findings(document.uri).length === 1);
});

test("the quick fix that looks for a fix puts one in place", async () => {
  const all = await found(BUGGY);
  const fix = (await actions(all)).find((each) => each.title.startsWith("Look for a fix with ACE"));
  const answer = await run(fix.command.command, ...fix.command.arguments);
  assert.equal(answer.applied, true);
  assert.equal(all.document.getText(), "def f(a):\n    return GOOD\n");
  await until("no finding", () => findings(all.uri).length === 0);
});

test("looking for a fix from the palette takes the finding at the cursor", async () => {
  const { document, editor, finding } = await found(BUGGY);
  editor.selection = new vscode.Selection(finding.range.start, finding.range.start);
  assert.equal((await run("ace.regenerate")).applied, true);
  assert.match(document.getText(), /return GOOD/);
});

test("the quick fix that ignores a finding writes the comment", async () => {
  const all = await found(BUGGY);
  const ignore = (await actions(all)).find((each) => each.title.startsWith("Ignore this finding"));
  assert(await vscode.workspace.applyEdit(ignore.edit));
  assert.match(all.document.lineAt(1).text, /# ace: ignore\[comparison\]$/);
});

test("a fix that was found stands among the quick fixes as an edit", async () => {
  const all = await found(BUGGY);
  const range = { start: all.finding.range.start, end: all.finding.range.end };
  assert.equal((await run("ace.regenerate", all.uri.toString(), range, { apply: false })).applied, false);
  const fix = (await actions(all)).find((each) => each.title === "Fix: `BUG` becomes `FINE`");
  assert(await vscode.workspace.applyEdit(fix.edit));
  assert.match(all.document.getText(), /return FINE/);
});

test("why is a web view with the heat map under a policy that allows nothing from elsewhere", async () => {
  const { editor, finding } = await found(BUGGY);
  editor.selection = new vscode.Selection(finding.range.start, finding.range.start);
  await run("ace.explainHere");
  const html = api.why();
  const [, nonce] = /style-src 'nonce-([\w-]{20,})'/.exec(html);
  assert(
    html.includes(`content="default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'; `),
  );
  assert.match(html, /Why “BUG” is marked/);
  assert.match(html, /<span class="raises h9 target" title="\+1\.250 log-odds">BUG<\/span>/);
  assert.match(html, /Heads and MLPs by layer/);
  assert.doesNotMatch(html, /(?:src|href)="(?!#)/);
  assert.doesNotMatch(html, / style="| onclick=/);
});

test("why has a new nonce each time and says so when the document was changed since", async () => {
  const nonce = () => /nonce-([\w-]+)/.exec(api.why())[1];
  const { document, editor, uri } = await found(BUGGY);
  await run("ace.explainHere", uri.toString(), { line: 1, character: 11 });
  const before = nonce();
  await run("ace.explainHere", uri.toString(), { line: 0, character: 4 });
  assert.notEqual(nonce(), before);
  assert.match(api.why(), /What the model expects at “f”/);
  await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), "\n"));
  assert.equal(document.lineCount, 4);
  assert.match(api.why(), /The document has been changed since\./);
});

test("why escapes what the code says", async () => {
  const { uri } = await opened('x = "<img src=x onerror=alert(1)>"\n');
  await run("ace.analyzeFile", uri.toString());
  await run("ace.explainHere", uri.toString(), { line: 0, character: 7 });
  assert.doesNotMatch(api.why(), /<img/);
  assert.match(api.why(), /&lt;<span [^>]*>img<\/span> src=x onerror/);
});

test("the report of a file opens beside it", async () => {
  const { uri } = await found(BUGGY);
  const made = await run("ace.report", uri.toString());
  assert.equal(made.findings, 1);
  assert.match(api.report(), /id="finding-1"/);
  assert.match(api.report(), /script-src 'nonce-/);
});

test("analysing a file or the workspace says how much was found", async () => {
  const { uri } = await found(BUGGY);
  assert.equal((await run("ace.analyzeFile", uri.toString())).findings, 1);
  const all = await run("ace.analyzeWorkspace");
  assert.equal(all.cancelled, false);
  assert(all.findings >= 1);
});

test("pausing and resuming is seen in the status", async () => {
  await run("ace.pause");
  await until("paused", () => api.status().text === "ACE: paused, ready");
  await run("ace.resume");
  await until("resumed", () => api.status().text === "ACE: ready");
});

test("another model can be taken and is named in the status", async () => {
  await found(BUGGY);
  assert.deepEqual(await run("ace.switchModel", "toy"), { model: "toy" });
  await until("its name", () => api.status().detail === "toy on cpu float32");
  assert.equal((await run("ace.showStatus", { show: false })).info.model, "toy");
});

test("restarting the model's process gives another process", async () => {
  await found(BUGGY);
  const { workerPid } = await run("ace.showStatus", { show: false });
  await run("ace.restartWorker");
  await until("another worker", async () => {
    const now = (await run("ace.showStatus", { show: false })).workerPid;
    return now !== null && now !== workerPid;
  });
});

test("ten restarts at once are at most two and the server answers afterwards", async () => {
  const { uri } = await found(BUGGY);
  const before = lines(STARTS).length;
  await Promise.all(Array.from({ length: 10 }, () => run("ace.restart")));
  const started = lines(STARTS).length - before;
  assert(started >= 1 && started <= 2, `${started} starts`);
  assert.equal((await run("ace.analyzeFile", uri.toString())).findings, 1);
  await until("the finding, once", () => findings(uri).length === 1);
});

test("a server that is killed comes back", async () => {
  const { uri } = await found(BUGGY);
  const before = lines(STARTS);
  process.kill(Number(before.at(-1).split(" ")[0]), "SIGKILL");
  await until("another start", () => lines(STARTS).length > before.length);
  await until("ready", () => api.status().text === "ACE: ready");
  await until("an answer", async () => {
    const summary = await run("ace.analyzeFile", uri.toString()).catch(() => undefined);
    return summary?.findings === 1;
  });
  await until("the finding, once", () => findings(uri).length === 1);
});

test("what nobody has set is left to the project's file", async () => {
  const { uri } = await found(BUGGY);
  const taken = async () => {
    await run("ace.analyzeFile", uri.toString());
    return journal("done").at(-1).max_false_alarms;
  };
  assert.equal(await taken(), 2.5); // pyproject.toml of the workspace
  await settings().update("check.maxFalseAlarms", 0.5, vscode.ConfigurationTarget.Workspace);
  await until("what was set", async () => (await taken()) === 0.5);
  await settings().update("check.maxFalseAlarms", undefined, vscode.ConfigurationTarget.Workspace);
  await until("the file's again", async () => (await taken()) === 2.5);
});

test("ace switched off ends the server and switched on starts it", async () => {
  const { uri } = await found(BUGGY);
  await settings().update("enable", false, vscode.ConfigurationTarget.Workspace);
  await until("off", () => api.status().text === "ACE: off");
  assert.equal(findings(uri).length, 0);
  await settings().update("enable", undefined, vscode.ConfigurationTarget.Workspace);
  await until("a finding", () => findings(uri).length === 1);
});

test("a server that is nowhere is said in the status and no command fails", async () => {
  await settings().update("path", ["/nowhere/ace-lsp"], vscode.ConfigurationTarget.Workspace);
  await until("the status", () => api.status().text === "ACE: not installed");
  assert.equal(api.status().severity, vscode.LanguageStatusSeverity.Error);
  assert.match(api.status().detail, /pip install 'ace-lsp\[engine\]'/);
  void run("ace.analyzeWorkspace"); // tells so, and waits for a button
  await settings().update("path", undefined, vscode.ConfigurationTarget.Workspace);
  const { uri } = await opened(BUGGY);
  await until("a finding", () => findings(uri).length === 1);
});

test("without settings the active environment's server is taken and another interpreter changes it", async () => {
  const python = vscode.extensions.getExtension("ms-python.python").exports;
  const { uri } = await found(BUGGY);
  python.choose(process.env.ACE_PYTHON);
  await settings().update("path", [], vscode.ConfigurationTarget.Workspace);
  await until("the environment's", () => api.server()?.from === "the active Python environment");
  assert.equal(api.server().server.command, process.env.ACE_PYTHON);
  await until("a finding", () => findings(uri).length === 1);
  python.choose("/nowhere/python");
  await until("none", () => api.status().text === "ACE: not installed");
  python.choose(process.env.ACE_PYTHON);
  await until("the environment's again", () => findings(uri).length === 1);
  await settings().update("path", undefined, vscode.ConfigurationTarget.Workspace);
  await until("the one that is set", () => api.server()?.from === "ace.path");
  await until("a finding", () => findings(uri).length === 1);
});

test("another interpreter changes nothing where the server is set", async () => {
  const before = lines(STARTS).length;
  vscode.extensions.getExtension("ms-python.python").exports.choose("/nowhere/python");
  await sleep(1000);
  assert.equal(lines(STARTS).length, before);
});

test("every command of the server's is a command here", async () => {
  const { contributes } = vscode.extensions.getExtension("ace-lsp.ace-lsp").packageJSON;
  const registered = new Set(await vscode.commands.getCommands(true));
  for (const { command } of contributes.commands) {
    assert(registered.has(command), command);
  }
});

test("cells of a notebook are analysed together", async () => {
  const cell = (text) => new vscode.NotebookCellData(vscode.NotebookCellKind.Code, text, "python");
  const data = new vscode.NotebookData([cell("x = 1"), cell("y = BUG")]);
  const notebook = await vscode.workspace.openNotebookDocument("jupyter-notebook", data);
  await vscode.window.showNotebookDocument(notebook);
  const { uri } = notebook.cellAt(1).document;
  const [finding] = await until("a finding", () => findings(uri).length && findings(uri));
  assert.deepEqual(finding.range, new vscode.Range(0, 4, 0, 7));
  assert.equal(findings(notebook.cellAt(0).document.uri).length, 0);
});

testOfFolders("each folder has its own settings and the deepest one counts", async () => {
  const [outer, inner] = vscode.workspace.workspaceFolders.map((folder) => folder.uri);
  assert(inner.path.startsWith(`${outer.path}/`));
  const ofInner = vscode.workspace.getConfiguration("ace", inner);
  const here = vscode.ConfigurationTarget.WorkspaceFolder;
  const { uri, document } = await found(BUGGY, outer);
  // In a column of its own: the next document would take its place and end it.
  await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Two, preview: false });
  const inside = await found(BUGGY, inner);
  const taken = async (document) => {
    await run("ace.analyzeFile", document.toString());
    return journal("done").at(-1).max_false_alarms;
  };
  assert.equal(await taken(uri), 0.5); // outer/.vscode/settings.json
  assert.equal(await taken(inside.uri), 4); // inner/.vscode/settings.json
  await ofInner.update("check.maxFalseAlarms", 3, here);
  await until("what was set", async () => (await taken(inside.uri)) === 3);
  assert.equal(await taken(uri), 0.5);
  await ofInner.update("enable", false, here);
  await until("nothing inside", () => findings(inside.uri).length === 0);
  await until("what is outside", () => findings(uri).length === 1);
  assert.equal(findings(inside.uri).length, 0);
  await ofInner.update("enable", undefined, here);
  await until("the finding again", () => findings(inside.uri).length === 1);
});

exports.run = async function () {
  const extension = vscode.extensions.getExtension("ace-lsp.ace-lsp");
  assert(extension, "the packaged extension is not installed");
  assert(!extension.isActive, "it was started without Python");
  const told = (line) => fs.appendFileSync(RESULTS, JSON.stringify(line) + "\n");
  told({ name: "", vscode: vscode.version, path: path.basename(extension.extensionPath) });
  await opened(BUGGY);
  api = await until("activation", () => extension.isActive && extension.exports);
  const only = process.env.ACE_HOST_ONLY;
  for (const [name, body] of (process.env.ACE_HOST_FOLDERS ? ofFolders : tests).filter(([each]) => !only || each.includes(only))) {
    const started = Date.now();
    let error = null;
    try {
      await body();
    } catch (caught) {
      error = String(caught.stack ?? caught);
    }
    told({ name, error, seconds: (Date.now() - started) / 1000, status: api.status() });
    await run("workbench.action.closeAllEditors");
  }
};
