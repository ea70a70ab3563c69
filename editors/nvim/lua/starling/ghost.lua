-- Ghost text for all versions of Neovim: asks the server at each change, shows what fits the text as
-- it is now, and never what is late. There is one cursor, so there is one suggestion at a time.
local client_of = require("starling.client")
local config = require("starling.config")
local drawing = require("starling.drawing")
local insertion = require("starling.insertion")
local origin = require("starling.origin")
local switch = require("starling.switch")

local M = {}

local METHOD = "textDocument/inlineCompletion"
local INVOKED, AUTOMATIC = 1, 2

-- What is shown: {buf, row, column, after, items = {{text, replaced, command}, ...}, index, invoked}.
-- `column` is where the items begin, `after` the rest of the line there; both in bytes.
local shown = nil
-- What ends the request or the waiting that is under way.
local stop_asking = nil
-- Raised whenever what was asked before is of no more use.
local serial = 0
-- Text and cursor of the last change looked at: two events may tell of one change.
local seen = {}

local function is_inserting()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == "i" and vim.fn.reg_executing() == ""
end

local function menu_hides()
  return config.current.menu == "hide" and vim.fn.pumvisible() == 1
end

local function forget_request()
  serial = serial + 1
  if stop_asking then
    stop_asking()
    stop_asking = nil
  end
end

local function hide()
  if shown then
    drawing.clear(shown.buf)
    shown = nil
  end
end

local function clear()
  forget_request()
  hide()
end

--- What is still to be typed of the suggestion at the cursor, and the cursor; nil when it does not
--- fit the text as it is.
local function remaining()
  if not shown or shown.buf ~= vim.api.nvim_get_current_buf() then
    return nil
  end
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  row = row - 1
  if row ~= shown.row or column < shown.column then
    return nil
  end
  local line = vim.api.nvim_get_current_line()
  local typed = line:sub(shown.column + 1, column)
  local text = shown.items[shown.index].text
  if line:sub(column + 1) ~= shown.after or not vim.startswith(text, typed) or #typed == #text then
    return nil
  end
  return text:sub(#typed + 1), row, column
end

local function hints()
  local chunks = {}
  local words = config.current.show_origin and origin.words(shown.items[shown.index].command)
  if words then
    chunks[#chunks + 1] = { "  " .. words, "StarlingCopy" }
  end
  if #shown.items > 1 then
    chunks[#chunks + 1] = { ("  (%d/%d)"):format(shown.index, #shown.items), "StarlingHint" }
  end
  return chunks
end

--- Shows what fits; whether anything does.
local function draw()
  local text, row, column = remaining()
  if not text then
    hide()
    return false
  end
  drawing.draw({
    buf = shown.buf,
    row = row,
    column = column,
    text = text,
    replaced = shown.items[shown.index].replaced,
    after = shown.after,
    hints = hints(),
  })
  return true
end

--- An item of the server as it is kept; nil if it is not at the cursor.
local function to_item(client, item, row, column, line)
  local text = type(item.insertText) == "table" and item.insertText.value or item.insertText
  local from, to = column, column
  if item.range then
    if item.range.start.line ~= row or item.range["end"].line ~= row then
      return nil
    end
    from = client_of.column_bytes(client, line, item.range.start.character)
    to = client_of.column_bytes(client, line, item.range["end"].character)
  end
  local before = line:sub(from + 1, column)
  if from > column or to < column or not vim.startswith(text, before) then
    return nil
  end
  text = text:sub(#before + 1):gsub("\r\n?", "\n"):gsub("\n+$", "")
  if text == "" then
    return nil
  end
  return { text = text, replaced = line:sub(column + 1, to), command = item.command }
end

--- The place of the other suggestion that the user asked for, when these are its alternatives.
local function index_after(items, current, step)
  if current then
    items = vim.tbl_filter(function(item)
      return item.text ~= current.text
    end, items)
    table.insert(items, 1, current)
  end
  return items, #items > 1 and (step % #items) + 1 or 1
end

--- Asks the server for suggestions at the cursor. `step` is how far to go on from the one that is
--- shown; nil to show the first.
local function ask(kind, step)
  forget_request()
  local buf = vim.api.nvim_get_current_buf()
  local client = client_of.of(buf)
  if not client then
    return
  end
  local mine = serial
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local params = client_of.position(client)
  params.context = { triggerKind = kind }
  stop_asking = client_of.request(client, METHOD, params, function(err, result)
    if mine ~= serial then
      return
    end
    stop_asking = nil
    if err or type(result) ~= "table" or not is_inserting() or menu_hides() then
      return
    end
    local items = {}
    for _, item in ipairs(result.items or result) do
      items[#items + 1] = to_item(client, item, row - 1, column, line)
    end
    local current = step and shown and remaining() and shown.items[shown.index]
    if current and shown.column ~= column then
      local rest = current.text:sub(column - shown.column + 1)
      current = { text = rest, replaced = current.replaced, command = current.command }
    end
    local index = 1
    if current then
      items, index = index_after(items, current, step)
    end
    hide()
    if #items > 0 then
      shown = {
        buf = buf,
        row = row - 1,
        column = column,
        after = line:sub(column + 1),
        items = items,
        index = index,
        invoked = kind == INVOKED,
      }
      draw()
    end
  end, buf)
end

local function ask_soon()
  forget_request()
  local wait_ms = config.current.debounce_ms
  if wait_ms == 0 then
    ask(AUTOMATIC)
    return
  end
  local mine = serial
  local timer = vim.defer_fn(function()
    if mine == serial then
      stop_asking = nil
      ask(AUTOMATIC)
    end
  end, wait_ms)
  stop_asking = function()
    if not timer:is_closing() then
      timer:stop()
      timer:close()
    end
  end
end

--- The text or the cursor may have changed.
local function look()
  local buf = vim.api.nvim_get_current_buf()
  if not is_inserting() or not switch.is_on(buf) or menu_hides() then
    clear()
    return
  end
  local cursor = vim.api.nvim_win_get_cursor(0)
  local now = { buf, vim.api.nvim_buf_get_changedtick(buf), cursor[1], cursor[2] }
  if vim.deep_equal(now, seen) then
    return
  end
  seen = now
  -- As long as the user types what is shown, there is nothing to ask.
  if not draw() then
    ask_soon()
  end
end

--- Looks again whatever was seen before.
local function look_anew()
  seen = {}
  look()
end

--- Part of a text: all of it, up to the end of a line, up to the end of a word.
local PARTS = {
  all = function(text)
    return text
  end,
  line = function(text)
    return text:match("^\n*[^\n]+")
  end,
  word = function(text)
    return text:match("^%s*[%w_\128-\255]+") or text:match("^%s*[^%w_%s\128-\255]+")
  end,
}

local function run_command(buf, command)
  local client = client_of.of(buf)
  if client and command and command.command then
    local params = { command = command.command, arguments = command.arguments }
    client_of.request(client, "workspace/executeCommand", params, function() end, buf)
  end
end

--- The keys that insert the suggestion or a part of it; nil when none is shown.
function M.accept(what)
  local rest, row, column = remaining()
  if not rest or not is_inserting() then
    return nil
  end
  local item = shown.items[shown.index]
  local text = PARTS[what](rest) or rest
  if text == rest then
    local buf = shown.buf
    clear()
    vim.schedule(function()
      run_command(buf, item.command)
    end)
    return insertion.keys(text, vim.fn.strchars(item.replaced))
  end
  forget_request()
  local lines = vim.split(text, "\n", { plain = true })
  shown.row = row + #lines - 1
  shown.column = #lines[#lines] + (#lines == 1 and column or 0)
  shown.items = { { text = rest:sub(#text + 1), replaced = item.replaced, command = item.command } }
  shown.index = 1
  drawing.clear(shown.buf)
  return insertion.keys(text, 0)
end

--- Shows another suggestion; whether there was one. At first one is computed; the first step asks
--- for more.
function M.cycle(step)
  if not remaining() then
    return false
  end
  if #shown.items == 1 and not shown.invoked then
    ask(INVOKED, step)
  else
    shown.index = (shown.index - 1 + step) % #shown.items + 1
    draw()
  end
  return true
end

--- Takes the suggestion away; whether there was one.
function M.dismiss()
  local was_visible = M.is_visible()
  clear()
  return was_visible
end

--- Whether ghost text is shown.
function M.is_visible()
  return remaining() ~= nil
end

--- What is shown, for other plugins and status lines: {text, index, count, origin}; nil for nothing.
function M.current()
  local text = remaining()
  if not text then
    return nil
  end
  local words = origin.words(shown.items[shown.index].command)
  return { text = text, index = shown.index, count = #shown.items, origin = words }
end

--- Suggestions were turned on or off in the current buffer.
function M.refresh()
  look_anew()
end

--- Begins to look at a buffer that the server knows.
function M.attach(_, buf)
  local group = vim.api.nvim_create_augroup("starling.ghost." .. buf, { clear = true })
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buf, callback = callback })
  end
  on({ "TextChangedI", "TextChangedP", "CursorMovedI" }, look)
  on("InsertEnter", function()
    -- In `InsertEnter` the cursor and the mode are still those of before.
    vim.schedule(look_anew)
  end)
  on({ "CompleteChanged", "CompleteDone" }, function()
    vim.schedule(look_anew)
  end)
  on({ "InsertLeave", "BufLeave", "WinLeave" }, clear)
  vim.schedule(look_anew)
end

vim.api.nvim_create_autocmd("User", {
  group = vim.api.nvim_create_augroup("starling.ghost", { clear = true }),
  pattern = "StarlingStatus",
  callback = function(event)
    -- A model that has just been loaded may have something to say where the user waits.
    local before, state = event.data.before, event.data.state
    if state == "ready" and before ~= "ready" and before ~= "busy" and not shown then
      vim.schedule(look_anew)
    end
  end,
})

return M
