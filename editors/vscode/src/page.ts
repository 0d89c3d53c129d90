// The server's page about a finding, as a web view may show it: in the editor's colours, under a content
// security policy that allows this style and this script and nothing else.

export interface Heading {
  title: string;
  place: string;
}

const THEME = `
:root { --back: var(--vscode-editor-background); --text: var(--vscode-editor-foreground);
  --soft: var(--vscode-descriptionForeground); --line: var(--vscode-panel-border, #8884);
  --panel: var(--vscode-textCodeBlock-background); --raises: #d55e00; --lowers: #0072b2; }
body { padding: 1rem 1.25rem 3rem; font-family: var(--vscode-font-family); }
body.vscode-dark, body.vscode-high-contrast { --raises: #ff8c3a; --lowers: #56b4e9; }
pre.code, pre.code code { font-family: var(--vscode-editor-font-family); color: var(--text);
  background: var(--panel); }
.line .number { cursor: pointer; }
.line .number:hover { text-decoration: underline; }
#stale { display: none; border-left: 3px solid var(--raises); padding-left: .6rem; }
body.stale #stale { display: block; }
`;

const SCRIPT = `
const editor = acquireVsCodeApi();
document.addEventListener("click", (event) => {
  const number = event.target.closest?.(".line .number");
  if (number) editor.postMessage({ line: Number(number.textContent) });
});
window.addEventListener("message", (event) => {
  if (event.data?.stale) document.body.classList.add("stale");
});
`;

/** The page's body and style under a policy of its own; `nonce` is new for each page. */
export function webviewPage(page: string, nonce: string, heading?: Heading): string {
  const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? "";
  const body = /<body>([\s\S]*)<\/body>/.exec(page)?.[1] ?? "";
  const policy =
    `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'; ` +
    "base-uri 'none'; form-action 'none'";
  const head = heading
    ? `<header><h1>${escaped(heading.title)}</h1><p class="soft">${escaped(heading.place)}</p></header>`
    : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ACE</title>
<style nonce="${nonce}">${style}${THEME}</style>
</head>
<body>
<p id="stale" class="soft">The document has been changed since.</p>
${head}
${body}
<script nonce="${nonce}">${SCRIPT}</script>
</body>
</html>
`;
}

function escaped(text: string): string {
  const names: Record<string, string> = {
    "&": "amp",
    "<": "lt",
    ">": "gt",
    '"': "quot",
    "'": "#39",
  };
  return text.replace(/[&<>"']/g, (each) => `&${names[each] ?? ""};`);
}
