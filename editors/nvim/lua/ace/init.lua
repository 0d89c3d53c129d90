--- What configurations call. Nothing has to be called: vim.lsp.enable('ace_lsp') is all that is needed.

local M = {}

--- A few words for a statusline, such as "ACE: ready"; empty in a buffer without ACE.
---@param bufnr? integer
---@return string
function M.statusline(bufnr)
  return require('ace.status').line(bufnr)
end

--- The last status that a buffer's server has told.
---@param bufnr? integer
---@return ace.Status?
function M.status(bufnr)
  return require('ace.status').get(bufnr)
end

--- Why the finding at the cursor is one, in a float; with `token`, what the model expects at the cursor.
---@param options? { token?: boolean }
function M.why(options)
  require('ace.why').here(vim.api.nvim_get_current_buf(), options)
end

--- Look for a fix of the finding at the cursor; with `first`, put the likeliest in place.
---@param options? { first?: boolean, lines?: { [1]: integer, [2]: integer } }
function M.fix(options)
  require('ace.fix').here(vim.api.nvim_get_current_buf(), options)
end

return M
