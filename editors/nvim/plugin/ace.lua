-- One command and two <Plug> mappings. Everything else is loaded when they are used.
if vim.g.loaded_ace then
  return
end
vim.g.loaded_ace = true

vim.api.nvim_create_user_command('Ace', function(options)
  require('ace.command').run(options)
end, {
  nargs = '+',
  range = true,
  desc = 'ACE: what is suspicious in Python code, why, and what to do about it',
  complete = function(_, line)
    return require('ace.command').complete(line)
  end,
})

vim.keymap.set('n', '<Plug>(AceWhy)', '<Cmd>Ace why<CR>', { desc = 'ACE: why is this a finding' })
vim.keymap.set('n', '<Plug>(AceFix)', '<Cmd>Ace fix<CR>', { desc = 'ACE: look for a fix' })
