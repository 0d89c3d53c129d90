// Has host/index.js run inside the extension host, as VS Code's own integration tests are
// (test/integration/browser). Ends with the tests' exit code.
import { address, browser, remote } from "./browser.mjs";

const { TESTS, PATIENCE } = process.env;
const chromium = await browser();
const page = await chromium.newPage({ viewport: { width: 1280, height: 800 } });
let done;
const code = new Promise((resolve) => (done = resolve));
await page.exposeFunction("codeAutomationLog", (kind, args) => console.log(`[${kind}]`, ...args));
await page.exposeFunction("codeAutomationExit", (value) => done(value));
await page.goto(
  address([
    ["extensionDevelopmentPath", remote(TESTS)],
    ["extensionTestsPath", remote(`${TESTS}/index.js`)],
    ["skipWelcome", "true"],
    ["skipReleaseNotes", "true"],
  ]),
);
const late = new Promise((resolve) => setTimeout(() => resolve(124), Number(PATIENCE) * 1000));
const ended = await Promise.race([code, late]);
await chromium.close();
process.exit(ended);
