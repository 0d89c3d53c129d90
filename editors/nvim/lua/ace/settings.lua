--- The settings of the server, section "ace": for `:checkhealth ace`, and as types for an editor of Lua.
--- The server itself checks them again, tells what is wrong, and takes the default there.

---@class ace.WorkerSettings
---@field command? string[] starts the worker; empty: the server's own Python does
---@field cancelTimeout? number seconds that it may ignore a cancel before it is killed
---@field idleMinutes? number minutes without work before the model is unloaded; 0 keeps it
---@field maxCrashes? integer crashes in a row before the server stops trying
---@field backoff? number seconds before the second restart in a row; doubled each time

---@class ace.Settings
---@field enable? boolean
---@field run? 'onType'|'onSave'|'manual'
---@field debounce? integer milliseconds of rest after a keystroke before a document is analysed
---@field maxLines? integer longer documents are analysed only when asked for
---@field previewFix? boolean ask before a fix is put in place, where the editor can
---@field codeLens? boolean tell above each function what was found in it
---@field inlayHints? boolean the probability behind each finding
---@field explainAhead? integer findings of a document that are explained while nothing else is to do
---@field worker? ace.WorkerSettings
---@field model? table as `[tool.ace.model]`
---@field check? table as `[tool.ace.check]`
---@field fix? table as `[tool.ace.fix]`

local M = {}

--- Each setting with its default, by which its type is known.
M.DEFAULTS = {
  enable = true,
  run = 'onType',
  debounce = 300,
  maxLines = 20000,
  previewFix = false,
  codeLens = false,
  inlayHints = false,
  explainAhead = 3,
  worker = { command = {}, cancelTimeout = 5.0, idleMinutes = 15.0, maxCrashes = 5, backoff = 1.0 },
}

--- Sections that are the engine's; what they may hold is in the README.
M.SECTIONS = { 'model', 'check', 'fix' }

M.RUN = { 'onType', 'onSave', 'manual' }

---@param name string
---@return string
local function camel(name)
  return (name:gsub('_(%l)', string.upper))
end

---@param given table<string, any>
---@param known table<string, any>
---@param where string
---@param problems string[]
local function check(given, known, where, problems)
  for key, value in pairs(given) do
    local name = camel(tostring(key))
    local default = known[name]
    local full = ('%s.%s'):format(where, name)
    if default == nil then
      if where ~= 'ace' or not vim.list_contains(M.SECTIONS, name) then
        table.insert(problems, ('%s: unknown setting'):format(full))
      end
    elseif type(value) ~= type(default) then
      table.insert(problems, ('%s: expected a %s, got %s'):format(full, type(default), vim.inspect(value)))
    elseif name == 'run' and not vim.list_contains(M.RUN, value) then
      table.insert(
        problems,
        ('%s: expected one of %s, got %s'):format(full, table.concat(M.RUN, ', '), value)
      )
    elseif name == 'worker' then
      check(value, default, full, problems)
    end
  end
end

--- What is wrong with settings, in words.
---@param given ace.Settings
---@return string[]
function M.problems(given)
  local problems = {} ---@type string[]
  check(given, M.DEFAULTS, 'ace', problems)
  table.sort(problems)
  return problems
end

return M
