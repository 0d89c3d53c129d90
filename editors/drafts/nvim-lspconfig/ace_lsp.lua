---@brief
---
--- ACE finds likely bugs in Python code by reading the activations of a small code model.
---
--- ```sh
--- pip install 'ace-lsp[engine]'
--- ace model pull
--- ```
---
--- Settings are those of section `ace`:
---
--- ```lua
--- vim.lsp.config('ace_lsp', {
---   settings = { ace = { run = 'onSave', check = { max_false_alarms = 0.5 } } },
--- })
--- ```

---@type vim.lsp.Config
return {
  cmd = { 'ace-lsp' },
  filetypes = { 'python' },
  root_markers = { 'ace.toml', 'pyproject.toml', '.git' },
  settings = {},
}
