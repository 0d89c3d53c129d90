--- The server as a program: started again, asked for its models, its models downloaded.

local client_of = require('ace.client')

local M = {}

local PATIENCE = 30000 -- milliseconds
local PULL = 'ace model pull'

---@class ace.Model
---@field name string
---@field installed boolean whether its weights are on this machine

--- What `ace model list` lists; nil where there is no program `ace`.
---@return ace.Model[]?
function M.listed()
  local program = client_of.program()
  if not program then
    return nil
  end
  local started, job = pcall(
    vim.system,
    { program, 'model', 'list', '--json' },
    { text = true, timeout = PATIENCE }
  )
  local answer = started and job:wait() or nil
  local read, models = pcall(vim.json.decode, answer and answer.code == 0 and answer.stdout or '')
  return read and models or nil
end

---@type string[]?
local names

--- Names of models for completion, asked for once.
---@return string[]
function M.models()
  if not names then
    names = vim.tbl_map(function(each)
      return each.name
    end, M.listed() or {})
  end
  return names
end

--- End the server and start it again for the buffers that it had.
function M.restart()
  local clients = vim.lsp.get_clients({ name = client_of.NAME })
  for _, client in ipairs(clients) do
    client:stop()
  end
  local tries = 0
  local function again()
    tries = tries + 1
    if #vim.lsp.get_clients({ name = client_of.NAME, _uninitialized = true }) == 0 then
      vim.lsp.enable(client_of.NAME)
      client_of.say('the server is started again')
    elseif tries < 100 then
      vim.defer_fn(again, 50)
    else
      for _, client in ipairs(clients) do
        client:stop(true)
      end
      tries = 0
      vim.defer_fn(again, 50)
    end
  end
  again()
end

--- Download a model in a terminal below, and have the server try again when it is here.
---@param name? string
function M.pull(name)
  local program = client_of.program()
  if not program then
    local message = ('the program `ace` was not found. Install it: %s'):format(client_of.INSTALL)
    return client_of.say(message, vim.log.levels.WARN)
  end
  vim.cmd('botright 12new')
  vim.fn.jobstart({ program, 'model', 'pull', name }, {
    term = true,
    on_exit = function(_, code)
      names = nil
      local client = client_of.find(0, true)
      if code ~= 0 then
        client_of.say(('%s ended with %d'):format(PULL, code), vim.log.levels.WARN)
      elseif client then
        client_of.run(client, { command = 'ace.restartWorker' })
      end
    end,
  })
end

return M
