--- The language server's configuration, found by vim.lsp.enable('ace_lsp').
---
--- Change it with vim.lsp.config('ace_lsp', { ... }); what can be set is in |ace-settings|. Other
--- modules are loaded when the server speaks, and not before.

---@type vim.lsp.Config
return {
  cmd = { 'ace-lsp' },
  filetypes = { 'python' },
  root_markers = { { 'ace.toml', 'pyproject.toml' }, { 'setup.py', 'setup.cfg' }, '.git' },
  settings = {},
  capabilities = { experimental = { serverStatusNotification = true } },
  handlers = {
    ['experimental/serverStatus'] = function(...)
      return require('ace.status').heard(...)
    end,
    ['window/showMessageRequest'] = function(...)
      return require('ace.asking').asked(...)
    end,
  },
  commands = {
    ['ace.explainHere'] = function(command, context)
      require('ace.why').from_action(command, context)
    end,
  },
}
