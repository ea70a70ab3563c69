-- Ghost text by Neovim 0.12 itself (vim.lsp.inline_completion), with what it leaves open: it inserts
-- at the place that it asked about, whatever was typed since, and knows no parts of a suggestion.
local M = {}

local GROUP = "nvim.lsp.inline_completion"

--- The suggestion without what was typed of it; nil when it does not fit any more.
local function without_typed(item)
  local text, range = item.insert_text, item.range
  if type(text) ~= "string" or not range then
    return nil
  end
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local from_row, from, to_row, to = range:to_extmark()
  if from_row ~= row - 1 or to_row ~= row - 1 or from > column then
    return nil
  end
  local typed = vim.api.nvim_get_current_line():sub(from + 1, column)
  if not vim.startswith(text, typed) then
    return nil
  end
  item.insert_text = text:sub(#typed + 1)
  item.range = vim.range(vim.api.nvim_get_current_buf(), row - 1, column, row - 1, math.max(column, to))
  return item
end

local PARTS = { line = "^\n*[^\n]+", word = "^%s*[%w_\128-\255]+" }

--- Inserts the suggestion or a part of it, as Neovim does; "" when it does, nil when none is shown.
function M.accept(what)
  local taken = vim.lsp.inline_completion.get({
    on_accept = function(item)
      local fitting = without_typed(item)
      local part = fitting and PARTS[what] and fitting.insert_text:match(PARTS[what])
      if part and part ~= fitting.insert_text then
        local row, column = fitting.range:to_extmark()
        fitting.insert_text, fitting.command = part, nil
        fitting.range = vim.range(vim.api.nvim_get_current_buf(), row, column, row, column)
      end
      return fitting
    end,
  })
  return taken and "" or nil
end

--- Shows another suggestion, if there is one.
function M.cycle(step)
  if not M.is_visible() then
    return false
  end
  vim.lsp.inline_completion.select({ count = step, wrap = true })
  return true
end

--- Takes the suggestion away until the next change.
function M.dismiss()
  if not M.is_visible() then
    return false
  end
  local buf = vim.api.nvim_get_current_buf()
  vim.lsp.inline_completion.enable(false, { bufnr = buf })
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
  return true
end

--- Whether ghost text is shown.
function M.is_visible()
  local namespace = vim.api.nvim_get_namespaces()[GROUP]
  return namespace ~= nil and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { limit = 1 }) > 0
end

--- Suggestions were turned on or off in the current buffer.
function M.refresh()
  M.attach(nil, vim.api.nvim_get_current_buf())
end

--- Begins to look at a buffer that the server knows.
function M.attach(_, buf)
  vim.lsp.inline_completion.enable(require("starling.switch").is_on(buf), { bufnr = buf })
end

return M
