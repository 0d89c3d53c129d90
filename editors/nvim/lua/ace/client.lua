--- The language client of a buffer, and running the server's commands with it.

local M = {}

M.NAME = 'ace_lsp'
M.INSTALL = "pip install 'ace-lsp[engine]', then: ace model pull"

local METHOD = 'workspace/executeCommand'

---@class ace.Running
---@field client vim.lsp.Client
---@field what string

--- What was asked for and has not been answered, by the client's and the request's number.
---@type table<string, ace.Running>
local running = {}

---@param message string
---@param level? integer
function M.say(message, level)
  vim.notify(message:match('^ACE') and message or ('ACE: ' .. message), level or vim.log.levels.INFO)
end

--- The client of a buffer; any other one, if it has none and any will do.
---@param bufnr integer
---@param anywhere? boolean
---@return vim.lsp.Client?
function M.find(bufnr, anywhere)
  local here = vim.lsp.get_clients({ name = M.NAME, bufnr = bufnr })[1]
  return here or (anywhere and vim.lsp.get_clients({ name = M.NAME })[1] or nil)
end

--- The same, or a message of what is missing.
---@param bufnr integer
---@param anywhere? boolean
---@return vim.lsp.Client?
function M.expect(bufnr, anywhere)
  local client = M.find(bufnr, anywhere)
  if not client then
    M.say(M.missing(), vim.log.levels.WARN)
  end
  return client
end

--- Why there is no client, and what to do.
---@return string
function M.missing()
  local config = vim.lsp.config[M.NAME]
  local cmd = config and config.cmd
  if not config then
    return 'there is no configuration "ace_lsp"; see :checkhealth ace'
  elseif not vim.lsp.is_enabled(M.NAME) then
    return "the server is not enabled; put vim.lsp.enable('ace_lsp') into your init.lua"
  elseif type(cmd) == 'table' and vim.fn.executable(cmd[1]) == 0 then
    return ('%s was not found. Install it: %s. See :checkhealth ace'):format(cmd[1], M.INSTALL)
  end
  return 'no server is attached to this buffer; is it Python? See :checkhealth ace'
end

---@param client vim.lsp.Client
---@param command string
---@return boolean
function M.knows(client, command)
  local provider = client.server_capabilities.executeCommandProvider
  return provider ~= nil and vim.list_contains(provider.commands or {}, command)
end

---@class ace.Call
---@field command string
---@field arguments? any[]
---@field bufnr? integer
---@field doing? string what is said while it runs: "explaining"
---@field done? fun(result: any)

--- Have the server run one of its commands. What goes wrong is told, and `done` not called.
---@param client vim.lsp.Client
---@param call ace.Call
function M.run(client, call)
  if not M.knows(client, call.command) then
    local version = (client.server_info or {}).version or '?'
    local told = ('the server (%s) has no command %s; a newer one may'):format(version, call.command)
    return M.say(told, vim.log.levels.WARN)
  end
  local key
  local function answered(err, result)
    running[key or ''] = nil
    if call.doing then
      vim.api.nvim_echo({ { '' } }, false, {})
    end
    if err then
      M.say(err.message, vim.log.levels.WARN)
    elseif call.done then
      call.done(result ~= vim.NIL and result or nil)
    end
  end
  local params = { command = call.command, arguments = call.arguments }
  local sent, id = client:request(METHOD, params, answered, call.bufnr)
  if not sent then
    return M.say('the server has ended; :Ace restart server starts it again', vim.log.levels.WARN)
  end
  key = ('%d:%d'):format(client.id, id)
  running[key] = { client = client, what = call.doing or call.command }
  if call.doing then
    vim.api.nvim_echo({ { ('ACE: %s ... (:Ace cancel)'):format(call.doing) } }, false, {})
  end
end

--- Cancel what runs. Neovim keeps the answer to a cancelled request to itself, so it is told here.
function M.cancel()
  if vim.tbl_isempty(running) then
    return M.say('nothing runs that could be cancelled')
  end
  for key, each in pairs(running) do
    if not each.client:is_stopped() then
      each.client:cancel_request(tonumber(key:match(':(%d+)$')) --[[@as integer]])
    end
    running[key] = nil
  end
  M.say('cancelled')
end

--- The program `ace` that belongs to the server: beside it, or on the PATH.
---@return string?
function M.program()
  local config = vim.lsp.config[M.NAME]
  local cmd = config and config.cmd
  local server = type(cmd) == 'table' and vim.fn.exepath(cmd[1]) or ''
  local beside = vim.fs.joinpath(vim.fs.dirname(server ~= '' and server or '.'), 'ace')
  if server ~= '' and vim.fn.executable(beside) == 1 then
    return beside
  end
  return vim.fn.executable('ace') == 1 and vim.fn.exepath('ace') or nil
end

return M
