--- Something better for a finding or for a range of lines: asked for, chosen, put in place.

local client_of = require('ace.client')
local findings = require('ace.findings')

local M = {}

---@class ace.Fix
---@field title string
---@field uri? string
---@field range? lsp.Range
---@field newText? string

---@class ace.Fixes
---@field applied boolean
---@field reason string
---@field version? integer
---@field fixes? ace.Fix[]

--- Make the edit, unless the text is another by now.
---@param client vim.lsp.Client
---@param fix ace.Fix
---@param version integer
local function apply(client, fix, version)
  local bufnr = vim.uri_to_bufnr(fix.uri)
  if vim.lsp.util.buf_versions[bufnr] ~= version then
    return client_of.say('the text was changed meanwhile, so nothing was replaced', vim.log.levels.WARN)
  end
  local edit = { range = fix.range, newText = fix.newText }
  vim.lsp.util.apply_text_edits({ edit }, bufnr, client.offset_encoding)
end

--- Let the person choose among several; take the only one at once.
---@param client vim.lsp.Client
---@param answer ace.Fixes
local function choose(client, answer)
  local usable = vim.tbl_filter(function(each)
    return each.range ~= nil and each.newText ~= nil
  end, answer.fixes or {})
  if #usable == 1 then
    return apply(client, usable[1], answer.version)
  elseif #usable == 0 then
    return -- the server has told why
  end
  vim.ui.select(usable, {
    prompt = 'ACE: fixes, the likeliest first',
    kind = 'ace_fix',
    format_item = function(each)
      return each.title
    end,
  }, function(chosen)
    if chosen then
      apply(client, chosen, answer.version)
    end
  end)
end

--- Look for a fix of the finding at the cursor, or of `lines` (first and last, counted from 1). With `first`,
--- the likeliest is put in place without a question.
---@param bufnr integer
---@param options? { first?: boolean, lines?: { [1]: integer, [2]: integer } }
function M.here(bufnr, options)
  options = options or {}
  local client = client_of.expect(bufnr)
  if not client then
    return
  end
  local range = options.lines and M.range_of_lines(bufnr, client.offset_encoding, options.lines)
  if not range then
    local finding = findings.at_cursor()
    if not finding then
      return client_of.say('no finding on this line; `:Ace fix` takes a range of lines, too')
    end
    range = findings.range(finding, client.offset_encoding)
  end
  local wanted = { version = vim.lsp.util.buf_versions[bufnr], apply = options.first == true }
  client_of.run(client, {
    command = 'ace.regenerate',
    arguments = { vim.uri_from_bufnr(bufnr), range, wanted },
    bufnr = bufnr,
    doing = 'looking for a fix',
    done = function(answer)
      if not options.first then
        choose(client, answer)
      end
    end,
  })
end

--- Lines without their indentation and the last line's end.
---@param bufnr integer
---@param encoding 'utf-8'|'utf-16'|'utf-32'
---@param lines { [1]: integer, [2]: integer }
---@return lsp.Range
function M.range_of_lines(bufnr, encoding, lines)
  local first = vim.api.nvim_buf_get_lines(bufnr, lines[1] - 1, lines[1], false)[1] or ''
  local last = vim.api.nvim_buf_get_lines(bufnr, lines[2] - 1, lines[2], false)[1] or ''
  return {
    start = findings.position(bufnr, encoding, lines[1] - 1, #first:match('^%s*')),
    ['end'] = findings.position(bufnr, encoding, lines[2] - 1, #last),
  }
end

return M
