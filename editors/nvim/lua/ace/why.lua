--- Why a place is a finding, or what the model expects there: in a float, with the tokens that drive it
--- marked in the text as long as the float is open.

local client_of = require('ace.client')
local findings = require('ace.findings')

local M = {}

local MARKS = vim.api.nvim_create_namespace('ace.why')
local FOCUS = 'ace.why'
local MOST_MARKED = 8

vim.api.nvim_set_hl(0, 'AceFor', { link = 'DiffText', default = true })
vim.api.nvim_set_hl(0, 'AceAgainst', { link = 'DiffAdd', default = true })

---@class ace.TokenScore
---@field span? { [1]: integer, [2]: integer } code points of the text; nil for the prompt's own
---@field text string
---@field score number

---@class ace.Explanation
---@field markdown string
---@field plain string
---@field attribution { tokens: ace.TokenScore[], unit: string, value: number }

--- Open or focus the float for a place.
---@param bufnr integer
---@param client vim.lsp.Client
---@param position lsp.Position
local function explain(bufnr, client, position)
  local tick = vim.api.nvim_buf_get_changedtick(bufnr)
  client_of.run(client, {
    command = 'ace.explainHere',
    arguments = { vim.uri_from_bufnr(bufnr), position, { show = false } },
    bufnr = bufnr,
    doing = 'explaining',
    done = function(explanation)
      local same = vim.api.nvim_buf_get_changedtick(bufnr) == tick
      if vim.api.nvim_get_current_buf() == bufnr and same then
        M.open(bufnr, explanation)
      end
    end,
  })
end

--- The finding under the cursor or the nearest on its line; with `token`, what stands under the cursor.
---@param bufnr integer
---@param options? { token?: boolean }
function M.here(bufnr, options)
  local client = client_of.expect(bufnr)
  if not client then
    return
  end
  local encoding = client.offset_encoding
  if options and options.token then
    local row, column = unpack(vim.api.nvim_win_get_cursor(0))
    return explain(bufnr, client, findings.position(bufnr, encoding, row - 1, column))
  end
  local finding = findings.at_cursor()
  if not finding then
    return client_of.say('no finding on this line; `:Ace explain` explains any token')
  end
  explain(bufnr, client, findings.range(finding, encoding).start)
end

--- The server's command as code actions and lenses carry it, shown here and not in a file.
---@param command lsp.Command
---@param context { client_id: integer, bufnr: integer }
function M.from_action(command, context)
  local client = vim.lsp.get_client_by_id(context.client_id)
  local arguments = command.arguments or {}
  if client and arguments[1] and arguments[2] then
    explain(vim.uri_to_bufnr(arguments[1]), client, arguments[2])
  end
end

--- Markdown without the addresses behind links: a float hides them, but wraps lines as if they were there.
---@param markdown string
---@return string
function M.readable(markdown)
  return (markdown:gsub('%[([^%]\n]*)%]%(file:[^)\n]*%)', '%1'))
end

--- Show an explanation.
---@param bufnr integer
---@param explanation ace.Explanation
---@return integer window of the float
function M.open(bufnr, explanation)
  local lines = vim.split(M.readable(explanation.markdown), '\n', { plain = true })
  local _, window = vim.lsp.util.open_floating_preview(lines, 'markdown', {
    focus_id = FOCUS,
    max_width = math.max(40, math.min(96, vim.o.columns - 4)),
    title = ' ACE ',
    border = vim.o.winborder ~= '' and vim.o.winborder or 'rounded',
  })
  if #vim.fn.getmatches(window) == 0 then
    vim.fn.matchadd('Conceal', [=[\\\ze[[:punct:]]]=], 10, -1, { window = window, conceal = '' })
  end
  M.mark(bufnr, explanation.attribution.tokens)
  vim.api.nvim_create_autocmd('WinClosed', {
    once = true,
    pattern = tostring(window),
    callback = function()
      vim.schedule(function()
        if vim.api.nvim_buf_is_valid(bufnr) then
          vim.api.nvim_buf_clear_namespace(bufnr, MARKS, 0, -1)
        end
      end)
    end,
  })
  return window
end

--- Mark the source tokens that weigh most, each by the sign of its score.
---@param bufnr integer
---@param tokens ace.TokenScore[]
function M.mark(bufnr, tokens)
  vim.api.nvim_buf_clear_namespace(bufnr, MARKS, 0, -1)
  local ending = ({ dos = '\r\n', mac = '\r' })[vim.bo[bufnr].fileformat] or '\n'
  local text = table.concat(vim.api.nvim_buf_get_lines(bufnr, 0, -1, false), ending) .. ending
  local placed = vim.tbl_filter(function(each)
    return type(each.span) == 'table'
  end, tokens)
  table.sort(placed, function(one, other)
    return math.abs(one.score) > math.abs(other.score)
  end)
  for _, each in ipairs(vim.list_slice(placed, 1, MOST_MARKED)) do
    local group = each.score >= 0 and 'AceFor' or 'AceAgainst'
    local from_row, from_column = M.place(text, each.span[1], ending)
    local to_row, to_column = M.place(text, each.span[2], ending)
    pcall(vim.api.nvim_buf_set_extmark, bufnr, MARKS, from_row, from_column, {
      end_row = to_row,
      end_col = to_column,
      hl_group = group,
      strict = false,
    })
  end
end

--- Row and byte of a place that is counted in code points from the text's start.
---@param text string
---@param offset integer
---@param ending string
---@return integer, integer
function M.place(text, offset, ending)
  local before = text:sub(1, vim.str_byteindex(text, 'utf-32', offset, false))
  local _, row = before:gsub(ending, '')
  local start = row == 0 and 0 or #before - (before:reverse():find(ending:reverse(), 1, true) - 1)
  return row, #before - start
end

return M
