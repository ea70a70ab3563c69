-- Accepted text gets into the buffer through keys, as if typed: only so is it one step of undo and
-- part of what `.` repeats. Meanwhile 'paste' keeps Neovim from indenting, wrapping and pairing.
local M = {}

local function termcodes(keys)
  return vim.api.nvim_replace_termcodes(keys, true, true, true)
end

local UNDO_BREAK = termcodes("<C-g>u")
local DELETE = termcodes("<Del>")
local LITERALLY = termcodes("<C-v>")
-- What indents a new line when `.` repeats it is taken away: the text brings its own indentation.
local NEW_LINE = termcodes("<CR>0<C-d>")
local BEGIN = termcodes("<Cmd>lua require('starling.insertion')._begin()<CR>")
local FINISH = termcodes("<Cmd>lua require('starling.insertion')._finish()<CR>")

local events_before

function M._begin()
  events_before = vim.o.eventignore
  vim.opt.eventignore:append({ "InsertCharPre", "OptionSet" })
  vim.o.paste = true
end

function M._finish()
  vim.o.paste = false
  vim.o.eventignore = events_before
end

--- The keys that delete characters after the cursor and insert a text, as one step of undo.
function M.keys(text, n_replaced_chars)
  local typed = text:gsub("%c", function(control)
    return control == "\n" and NEW_LINE or LITERALLY .. control
  end)
  return UNDO_BREAK .. BEGIN .. DELETE:rep(n_replaced_chars) .. typed .. FINISH .. UNDO_BREAK
end

return M
