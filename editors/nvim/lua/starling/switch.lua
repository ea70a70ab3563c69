-- Where suggestions are wanted: by buffer, by filetype, everywhere. The options say what is so at
-- first, toggle() changes it for this session; vim.b.starling_enabled and vim.g.starling_enabled
-- may be set by autocommands as well.
local config = require("starling.config")

local M = {}

local function filetype_is_on(filetype)
  local filetypes = config.current.filetypes
  if filetypes[filetype] ~= nil then
    return filetypes[filetype]
  end
  return filetypes["*"] ~= false
end

--- Whether the server may know the buffer at all: a file, or one to be, of a wanted filetype.
function M.is_for_starling(buf)
  local filetype = vim.bo[buf].filetype
  return vim.bo[buf].buftype == "" and filetype ~= "" and filetype_is_on(filetype)
end

--- Whether to suggest in the buffer.
function M.is_on(buf)
  return config.current ~= nil
    and vim.g.starling_enabled ~= false
    and vim.b[buf].starling_enabled ~= false
    and vim.bo[buf].modifiable
    and M.is_for_starling(buf)
end

--- Turns suggestions on or off; a sentence that says which.
function M.toggle(what)
  local buf = vim.api.nvim_get_current_buf()
  local on, where
  if what == "filetype" then
    local filetype = vim.bo[buf].filetype
    on, where = not filetype_is_on(filetype), "for " .. filetype
    config.current.filetypes[filetype] = on
  elseif what == "all" then
    on, where = vim.g.starling_enabled == false, "everywhere"
    vim.g.starling_enabled = on
  else
    on, where = vim.b[buf].starling_enabled == false, "in this buffer"
    vim.b[buf].starling_enabled = on
  end
  require("starling.client").attach(buf)
  require("starling.keys").engine().refresh()
  return ("Starling is %s %s"):format(on and "on" or "off", where)
end

return M
