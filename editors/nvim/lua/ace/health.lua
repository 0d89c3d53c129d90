--- `:checkhealth ace`: what is there, what is missing, and the command that gets it.

local client_of = require('ace.client')

local M = {}

local PATIENCE = 30000 -- milliseconds

---@return vim.lsp.Config?
local function neovim_and_configuration()
  vim.health.start('ACE: Neovim')
  if vim.fn.has('nvim-0.11') == 0 then
    vim.health.error('Neovim 0.11 or newer is needed', { 'https://github.com/neovim/neovim/releases' })
    return nil
  end
  vim.health.ok('Neovim ' .. tostring(vim.version()))
  local config = vim.lsp.config[client_of.NAME]
  if not config then
    vim.health.error('no configuration "ace_lsp"', { "add this plugin's folder to 'runtimepath'" })
    return nil
  end
  if vim.lsp.is_enabled(client_of.NAME) then
    vim.health.ok('the server is enabled')
  else
    vim.health.warn('the server is not enabled', { "put vim.lsp.enable('ace_lsp') into your init.lua" })
  end
  return config
end

---@param config vim.lsp.Config
local function server(config)
  vim.health.start('ACE: server')
  local cmd = config.cmd
  if type(cmd) ~= 'table' then
    return vim.health.ok('started by a function of yours')
  elseif vim.fn.executable(cmd[1]) == 0 then
    return vim.health.error(
      ('%s was not found'):format(cmd[1]),
      { client_of.INSTALL, "or: vim.lsp.config('ace_lsp', { cmd = { '/path/to/ace-lsp' } })" }
    )
  end
  local asked = vim.list_extend(vim.deepcopy(cmd), { '--version' })
  local started, job = pcall(vim.system, asked, { text = true, timeout = PATIENCE })
  local answer = started and job:wait() or { code = 1, stdout = '', stderr = tostring(job) }
  if answer.code ~= 0 then
    local told = ('%s ended with %d'):format(table.concat(asked, ' '), answer.code)
    return vim.health.error(told, vim.trim(answer.stderr or ''))
  end
  vim.health.ok(('%s: %s'):format(vim.fn.exepath(cmd[1]), vim.trim(answer.stdout)))
end

--- The models on this machine, or the command that gets one.
---@param config vim.lsp.Config
local function model(config)
  vim.health.start('ACE: model')
  local models = require('ace.server').listed()
  if not models then
    local advice = { client_of.INSTALL }
    return vim.health.warn('no program `ace` beside the server: it has no engine, or another one', advice)
  end
  local wanted = vim.tbl_get(config, 'settings', 'ace', 'model', 'name')
  local here, known = {}, false
  for _, each in ipairs(models) do
    known = known or each.name == wanted
    if each.installed then
      table.insert(here, each.name)
    end
  end
  local default = wanted and known and wanted or models[1] and models[1].name
  if wanted and not known then
    vim.health.info(('the model %s is set, which `ace model list` does not know'):format(wanted))
  elseif vim.list_contains(here, default) then
    vim.health.ok(('%s is downloaded'):format(default))
  else
    vim.health.error(('%s is not downloaded'):format(default), {
      ('%s model pull %s'):format(client_of.program(), default),
      'or :Ace pull, which does the same here',
    })
  end
end

---@param config vim.lsp.Config
local function settings(config)
  vim.health.start('ACE: settings')
  local given = vim.tbl_get(config, 'settings', 'ace') or {}
  local problems = require('ace.settings').problems(given)
  for _, each in ipairs(problems) do
    vim.health.warn(each, { ':help ace-settings' })
  end
  if #problems == 0 then
    local told = vim.tbl_isempty(given) and 'all defaults' or vim.inspect(given)
    vim.health.ok(('vim.lsp.config.ace_lsp.settings.ace: %s'):format(told))
  end
  vim.health.info('a project sets more in [tool.ace] of pyproject.toml or in ace.toml')
end

local function clients()
  vim.health.start('ACE: running')
  local found = vim.lsp.get_clients({ name = client_of.NAME })
  if #found == 0 then
    return vim.health.info('no client runs; open a Python file')
  end
  for _, client in ipairs(found) do
    local buffers = vim.tbl_count(client.attached_buffers)
    local root = client.root_dir or 'no folder'
    vim.health.ok(('client %d is attached to %d buffers, in %s'):format(client.id, buffers, root))
    local params = { command = 'ace.showStatus', arguments = { { show = false } } }
    local answer = client:request_sync('workspace/executeCommand', params, PATIENCE)
    if not answer or answer.err or not answer.result then
      vim.health.error('it does not say how it is', { ':Ace restart server', ':Ace log' })
    else
      local sentence = require('ace.status').sentence(answer.result)
      local failed = answer.result.state == 'failed'
      local tell = failed and vim.health.error or vim.health.ok
      tell(sentence, failed and { 'then: :Ace restart' } or nil)
    end
  end
  vim.health.info('log: ' .. vim.lsp.log.get_filename())
end

function M.check()
  local config = neovim_and_configuration()
  if not config then
    return
  end
  server(config)
  model(config)
  settings(config)
  clients()
end

return M
