--- Questions of the server (window/showMessageRequest), put so that typed text never answers them.
---
--- A question comes when it likes, and one of them is whether a project's tests may be run. Neovim's own
--- handler puts it at once, also while a person types, and the next keys are taken for the answer.

local M = {}

--- Modes in which the next keys are meant for something else.
local BUSY = '^[iRctvV\22sS\19!r]'

---@param params lsp.ShowMessageRequestParams
---@param choose fun(choice: lsp.MessageActionItem?)
local function put(params, choose)
  vim.ui.select(params.actions or {}, {
    prompt = params.message,
    kind = 'ace_question',
    format_item = function(action)
      return (action.title:gsub('%s+', ' '))
    end,
  }, choose)
end

--- Call `act` in normal mode: now, or as soon as it is back.
---@param act fun()
local function when_free(act)
  if not vim.api.nvim_get_mode().mode:match(BUSY) then
    return act()
  end
  vim.api.nvim_create_autocmd('ModeChanged', {
    once = true,
    pattern = '*:n*',
    callback = function()
      vim.schedule(function()
        when_free(act)
      end)
    end,
  })
end

--- The handler of window/showMessageRequest: answers when the person has chosen.
---@param params lsp.ShowMessageRequestParams
---@return lsp.MessageActionItem|vim.NIL
function M.asked(_, params)
  local thread = assert(coroutine.running())
  local function choose(choice)
    vim.schedule(function()
      coroutine.resume(thread, choice or vim.NIL)
    end)
  end
  vim.schedule(function()
    when_free(function()
      put(params, choose)
    end)
  end)
  return coroutine.yield()
end

return M
