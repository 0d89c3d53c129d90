--- How the server is, as it tells by itself (experimental/serverStatus), for a statusline and `:Ace status`.

local client_of = require('ace.client')

local M = {}

---@class ace.Status
---@field health 'ok'|'warning'|'error'
---@field quiescent boolean whether it has nothing to load and nothing to read
---@field message string in words, for a person

---@type table<integer, ace.Status>
local told = {}

--- The handler of experimental/serverStatus.
---@param status ace.Status
---@param context lsp.HandlerContext
function M.heard(_, status, context)
  told[context.client_id] = status
  vim.api.nvim_exec_autocmds('User', { pattern = 'AceStatus', modeline = false, data = status })
  vim.cmd.redrawstatus({ bang = true })
end

--- The last status of a buffer's server; nil where there is none.
---@param bufnr? integer
---@return ace.Status?
function M.get(bufnr)
  local client = client_of.find(bufnr or 0)
  return client and told[client.id] or nil
end

--- A few words for a statusline, such as "ACE: ready"; empty in a buffer without ACE.
---@param bufnr? integer
---@return string
function M.line(bufnr)
  if not client_of.find(bufnr or 0) then
    return ''
  end
  local status = M.get(bufnr)
  local message = status and status.message or 'starting'
  local words = vim.split(message, ': ', { plain = true })
  local shown = words[1] == 'paused' and 'paused' or words[1]
  if status and status.health == 'error' then
    shown = 'failed, see :Ace status'
  end
  return 'ACE: ' .. shown
end

---@class ace.StatusAnswer
---@field state string
---@field message string
---@field paused boolean
---@field info table<string, any>
---@field open integer
---@field version string

--- Tell the person how the server is.
---@param bufnr integer
function M.show(bufnr)
  local client = client_of.expect(bufnr, true)
  if not client then
    return
  end
  local function done(answer)
    client_of.say(M.sentence(answer))
  end
  client_of.run(client, { command = 'ace.showStatus', arguments = { { show = false } }, done = done })
end

--- The answer of ace.showStatus in one line.
---@param answer ace.StatusAnswer
---@return string
function M.sentence(answer)
  local parts = { ('ACE %s'):format(answer.version) }
  if answer.paused then
    table.insert(parts, 'paused')
  end
  table.insert(parts, answer.state)
  if answer.message ~= '' then
    table.insert(parts, answer.message)
  end
  local info = answer.info or {}
  if info.model then
    local dtype = tostring(info.dtype or ''):gsub('^torch%.', '')
    local place = vim.trim(('%s %s'):format(info.device or '', dtype))
    table.insert(parts, place ~= '' and ('%s on %s'):format(info.model, place) or info.model)
  end
  return table.concat(parts, ': ')
end

return M
