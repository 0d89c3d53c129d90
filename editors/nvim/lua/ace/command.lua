--- `:Ace <what>`: which word does what, and how it is completed.

local client_of = require('ace.client')

local M = {}

---@alias ace.CommandOptions vim.api.keyset.create_user_command.command_args

---@class ace.Subcommand
---@field about string
---@field run fun(arguments: string[], options: ace.CommandOptions, bufnr: integer)
---@field words? fun(): string[] what may follow

--- Run a command of the server that any of its buffers may ask for.
---@param bufnr integer
---@param command string
---@param said string what is told when it is done
---@param arguments? any[]
local function control(bufnr, command, said, arguments)
  local client = client_of.expect(bufnr, true)
  if client then
    client_of.run(client, {
      command = command,
      arguments = arguments,
      done = function()
        client_of.say(said)
      end,
    })
  end
end

---@param count integer
---@param noun string
---@return string
local function counted(count, noun)
  return ('%d %s%s'):format(count, noun, count == 1 and '' or 's')
end

local function analyze(_, _, bufnr)
  local client = client_of.expect(bufnr)
  if client then
    client_of.run(client, {
      command = 'ace.analyzeFile',
      arguments = { vim.uri_from_bufnr(bufnr) },
      bufnr = bufnr,
      doing = 'analysing',
      done = function(answer)
        client_of.say(counted(answer.findings, 'finding'))
      end,
    })
  end
end

local function workspace(_, _, bufnr)
  local client = client_of.expect(bufnr, true)
  if not client then
    return
  end
  client_of.run(client, {
    command = 'ace.analyzeWorkspace',
    doing = 'analysing the workspace',
    done = function(answer)
      local told = counted(answer.findings, 'finding') .. ' in ' .. counted(answer.files, 'file')
      local problems = #(answer.problems or {})
      client_of.say(problems > 0 and ('%s; %d could not be read'):format(told, problems) or told)
      local namespace = vim.lsp.diagnostic.get_namespace(client.id)
      vim.diagnostic.setqflist({ namespace = namespace, title = 'ACE', open = answer.findings > 0 })
    end,
  })
end

local function report(_, _, bufnr)
  local client = client_of.expect(bufnr)
  if client then
    client_of.run(client, {
      command = 'ace.report',
      arguments = { vim.uri_from_bufnr(bufnr), { show = true } },
      bufnr = bufnr,
      doing = 'making the report',
      done = function(answer)
        client_of.say(('the report is at %s'):format(answer.uri))
      end,
    })
  end
end

local function model(arguments, _, bufnr)
  local client = client_of.expect(bufnr, true)
  if client then
    client_of.run(client, {
      command = 'ace.switchModel',
      arguments = { arguments[1] },
      done = function(answer)
        client_of.say(('the model is %s'):format(answer.model))
      end,
    })
  end
end

local AS_TEXT = { kind = true, direction = true, name = true, reason = true, component = true }

--- What is to go, from the words of a command line: `kind=comparison mu=2`, or words of the buffer.
---@param words string[]
---@param bufnr integer
---@return table
local function edit_of(words, bufnr)
  local request, forgotten = {}, {}
  for _, word in ipairs(words) do
    local name, value = word:match('^(%a+)=(.+)$')
    if name == 'latents' then
      request.latents = vim.tbl_map(tonumber, vim.split(value, ','))
    elseif name then
      request[name] = AS_TEXT[name] and value or tonumber(value) or value
    else
      table.insert(forgotten, word)
    end
  end
  if #forgotten > 0 then
    request.words, request.uri = forgotten, vim.uri_from_bufnr(bufnr)
  end
  return request
end

local EDITS = { preview = 'planning an edit', apply = 'editing the model', undo = 'taking an edit back' }

local function edit(arguments, _, bufnr)
  local what, rest = arguments[1] or '', vim.list_slice(arguments, 2)
  if not EDITS[what] then
    local told = ('expected :Ace edit preview, apply or undo, got %s'):format(what == '' and 'none' or what)
    return client_of.say(told, vim.log.levels.ERROR)
  end
  local client = client_of.expect(bufnr, what == 'undo')
  if client then
    local request = what == 'undo' and { name = rest[1] } or edit_of(rest, bufnr)
    client_of.run(client, {
      command = 'ace.edit.' .. what,
      arguments = { next(request) and request or vim.empty_dict() },
      doing = EDITS[what],
    })
  end
end

local function restart(arguments, _, bufnr)
  if arguments[1] == 'server' then
    require('ace.server').restart()
  else
    control(bufnr, 'ace.restartWorker', 'the model is started again')
  end
end

local function fix(arguments, options, bufnr)
  local lines = options.range > 0 and { options.line1, options.line2 } or nil
  require('ace.fix').here(bufnr, { first = arguments[1] == 'first', lines = lines })
end

---@type table<string, ace.Subcommand>
local subcommands = {
  analyze = { about = 'analyse this file now', run = analyze },
  workspace = { about = 'analyse all files; findings go to the quickfix list', run = workspace },
  why = {
    about = 'why the finding at the cursor is one',
    run = function(_, _, bufnr)
      require('ace.why').here(bufnr)
    end,
  },
  explain = {
    about = 'why, or what the model expects, at the token under the cursor',
    run = function(_, _, bufnr)
      require('ace.why').here(bufnr, { token = true })
    end,
  },
  fix = {
    about = 'look for a fix of the finding, or of a range of lines',
    run = fix,
    words = function()
      return { 'first' }
    end,
  },
  report = { about = "this file's findings as a page in the browser", run = report },
  status = {
    about = 'how the server and its model are',
    run = function(_, _, bufnr)
      require('ace.status').show(bufnr)
    end,
  },
  pause = {
    about = 'analyse nothing unasked',
    run = function(_, _, bufnr)
      control(bufnr, 'ace.pause', 'paused')
    end,
  },
  resume = {
    about = 'analyse again',
    run = function(_, _, bufnr)
      control(bufnr, 'ace.resume', 'resumed')
    end,
  },
  cancel = {
    about = 'cancel what runs',
    run = function()
      client_of.cancel()
    end,
  },
  restart = {
    about = 'start the model again; `server`: the whole server',
    run = restart,
    words = function()
      return { 'server', 'worker' }
    end,
  },
  model = {
    about = 'take another model; without a name, the one that is set',
    run = model,
    words = function()
      return require('ace.server').models()
    end,
  },
  edit = {
    about = 'edit the model: `preview`, `apply` or `undo`',
    run = edit,
    words = function()
      return { 'apply', 'preview', 'undo' }
    end,
  },
  pull = {
    about = 'download a model, in a terminal',
    run = function(arguments)
      require('ace.server').pull(arguments[1])
    end,
    words = function()
      return require('ace.server').models()
    end,
  },
  log = {
    about = "the server's log",
    run = function()
      vim.cmd.tabedit(vim.fn.fnameescape(vim.lsp.log.get_filename()))
    end,
  },
}

--- All words that `:Ace` knows.
---@return string[]
function M.names()
  local names = vim.tbl_keys(subcommands)
  table.sort(names)
  return names
end

---@param options vim.api.keyset.create_user_command.command_args
function M.run(options)
  local name = options.fargs[1]
  local subcommand = subcommands[name]
  if not subcommand then
    local known = table.concat(M.names(), ', ')
    return client_of.say(('expected one of %s, got %s'):format(known, name), vim.log.levels.ERROR)
  end
  subcommand.run(vim.list_slice(options.fargs, 2), options, vim.api.nvim_get_current_buf())
end

--- What may stand at the end of a command line that is being typed.
---@param line string
---@return string[]
function M.complete(line)
  local words = vim.split(line:gsub('^.-Ace%s+', ''), '%s+')
  local known = M.names()
  if #words == 2 then
    local subcommand = subcommands[words[1]]
    known = subcommand and subcommand.words and subcommand.words() or {}
  elseif #words > 2 then
    known = {}
  end
  return vim.tbl_filter(function(each)
    return vim.startswith(each, words[#words])
  end, known)
end

return M
