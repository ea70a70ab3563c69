-- Starling for Neovim: setup(), and what a user may call. Completion itself is the server's work.
local config = require("starling.config")

local M = {}

--- Takes the options, maps the keys, and starts with the first file of a wanted type.
---@param options table? see :help starling-options
function M.setup(options)
  config.current, config.problems = config.read(options)
  if #config.problems > 0 then
    vim.notify("Starling: " .. table.concat(config.problems, "; "), vim.log.levels.ERROR)
  end
  M._define_highlights()
  require("starling.keys").map(config.current.keys)
  local group = vim.api.nvim_create_augroup("starling", { clear = true })
  vim.api.nvim_create_autocmd("ColorScheme", { group = group, callback = M._define_highlights })
  vim.api.nvim_create_autocmd({ "FileType", "BufEnter" }, {
    group = group,
    callback = function(event)
      require("starling.client").attach(event.buf)
    end,
  })
  if vim.v.vim_did_enter == 1 then
    require("starling.client").attach(vim.api.nvim_get_current_buf())
  end
end

--- The groups of the ghost text, each a link that a colour scheme may replace.
function M._define_highlights()
  local links = {
    StarlingGhost = "NonText",
    StarlingHint = "NonText",
    StarlingCopy = "DiagnosticVirtualTextWarn",
  }
  for group, link in pairs(links) do
    vim.api.nvim_set_hl(0, group, { link = link, default = true })
  end
end

--- Whether suggestions are wanted in a buffer.
---@param buf integer?
function M.is_enabled(buf)
  return require("starling.switch").is_on(buf or vim.api.nvim_get_current_buf())
end

--- Turns suggestions on or off: in this "buffer", its "filetype", or "all".
---@param what "buffer"|"filetype"|"all"|nil
function M.toggle(what)
  return require("starling.switch").toggle(what or "buffer")
end

--- Whether ghost text is on the screen.
function M.is_visible()
  return config.current ~= nil and require("starling.keys").engine().is_visible()
end

--- Each acts on visible ghost text and says whether there was any; for mappings of one's own.
for _, action in ipairs({ "accept", "accept_line", "accept_word", "next", "previous", "dismiss" }) do
  M[action] = function()
    return require("starling.keys").act(action)
  end
end

--- One short text for the status line, "" where Starling has nothing to do.
function M.statusline()
  return require("starling.status").line()
end

return M
