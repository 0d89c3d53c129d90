// What ACE reads of the Python extension's interface, with an interpreter that a test chooses.
const vscode = require("vscode");

exports.activate = () => {
  const changed = new vscode.EventEmitter();
  let interpreter = "/nowhere/python";
  return {
    choose(path) {
      interpreter = path;
      changed.fire({ path });
    },
    environments: {
      getActiveEnvironmentPath: () => ({ path: interpreter }),
      resolveEnvironment: async ({ path }) => ({ executable: { uri: vscode.Uri.file(path) } }),
      onDidChangeActiveEnvironmentPath: changed.event,
    },
  };
};
