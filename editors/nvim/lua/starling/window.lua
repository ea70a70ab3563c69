-- A floating window with Markdown that may still be growing.
local M = {}

local MAX_COLUMNS = 84

local function layout(n_lines)
  local columns = math.min(MAX_COLUMNS, vim.o.columns - 4)
  local rows = math.max(1, math.min(n_lines, vim.o.lines - 6))
  return {
    relative = "editor",
    width = columns,
    height = rows,
    row = 1,
    col = math.max(0, math.floor((vim.o.columns - columns) / 2) - 1),
  }
end

--- Screen lines that the buffer's lines take in a window of this width.
local function n_screen_lines(lines, columns)
  local n = 0
  for _, line in ipairs(lines) do
    n = n + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / columns))
  end
  return n
end

--- Opens a window and goes there; `q` and <Esc> close it. `set` replaces its text, `is_open` says
--- whether the user still reads, `on_close` is called once.
function M.open(title, filetype, on_close)
  local buf = vim.api.nvim_create_buf(false, true)
  vim.bo[buf].bufhidden = "wipe"
  local options = layout(1)
  options.style = "minimal"
  options.title = " " .. title .. " "
  options.border = "rounded"
  local window = vim.api.nvim_open_win(buf, true, options)
  vim.bo[buf].filetype = filetype
  vim.wo[window].wrap = true
  vim.wo[window].linebreak = true
  vim.wo[window].conceallevel = 2
  vim.wo[window].concealcursor = "n"
  if filetype == "markdown" then
    -- Without its parser, Neovim's old highlighting stays.
    pcall(vim.treesitter.start, buf, "markdown")
  end
  for _, key in ipairs({ "q", "<Esc>" }) do
    vim.keymap.set("n", key, "<Cmd>close<CR>", { buffer = buf, nowait = true, silent = true })
  end
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buf,
    once = true,
    callback = function()
      if on_close then
        on_close()
      end
    end,
  })
  local self = {}
  function self.is_open()
    return vim.api.nvim_win_is_valid(window) and vim.api.nvim_buf_is_valid(buf)
  end
  function self.set(text)
    if not self.is_open() then
      return
    end
    local lines = vim.split(text, "\n", { plain = true })
    vim.bo[buf].modifiable = true
    vim.api.nvim_buf_set_lines(buf, 0, -1, false, lines)
    vim.bo[buf].modifiable = false
    local columns = vim.api.nvim_win_get_width(window)
    vim.api.nvim_win_set_config(window, layout(n_screen_lines(lines, columns)))
  end
  return self
end

return M
