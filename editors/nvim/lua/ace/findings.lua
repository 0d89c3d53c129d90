--- The findings of a buffer: ACE's diagnostics, and their places as the server counts.

local M = {}

--- ACE's diagnostics, of one line or all.
---@param bufnr integer
---@param lnum? integer
---@return vim.Diagnostic[]
function M.of(bufnr, lnum)
  return vim.tbl_filter(function(each)
    return each.source == 'ace'
  end, vim.diagnostic.get(bufnr, { lnum = lnum }))
end

--- The finding under the cursor, else the nearest on its line.
---@return vim.Diagnostic?
function M.at_cursor()
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local nearest, distance
  for _, each in ipairs(M.of(0, row - 1)) do
    local last = each.end_lnum == each.lnum and math.max(each.end_col - 1, each.col) or math.huge
    local away = math.max(each.col - column, column - last, 0)
    if not distance or away < distance then
      nearest, distance = each, away
    end
  end
  return nearest
end

--- A place counted in bytes, as the server counts.
---@param bufnr integer
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@param lnum integer
---@param column integer
---@return lsp.Position
function M.position(bufnr, encoding, lnum, column)
  local line = vim.api.nvim_buf_get_lines(bufnr, lnum, lnum + 1, false)[1] or ''
  return { line = lnum, character = vim.str_utfindex(line, encoding, math.min(column, #line), false) }
end

---@param finding vim.Diagnostic
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@return lsp.Range
function M.range(finding, encoding)
  local bufnr = finding.bufnr or 0
  return {
    start = M.position(bufnr, encoding, finding.lnum, finding.col),
    ['end'] = M.position(bufnr, encoding, finding.end_lnum, finding.end_col),
  }
end

return M
