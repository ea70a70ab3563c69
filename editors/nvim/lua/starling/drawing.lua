-- Ghost text as extmarks. Knows how a suggestion looks, not where it comes from.
local M = {}

local namespace = vim.api.nvim_create_namespace("starling.ghost")

local function width(text, column)
  return vim.fn.strdisplaywidth(text, column)
end

--- Virtual text shows a tab as ^I: spaces up to where the tab would end.
local function expand_tabs(text, column)
  local expanded = text:gsub("([^\t]*)\t", function(before)
    column = column + width(before, column)
    local n_spaces = width("\t", column)
    column = column + n_spaces
    return before .. (" "):rep(n_spaces)
  end)
  return expanded
end

--- The pieces of `text` that stand between the characters of `replaced`, each with its byte offset in
--- `replaced`; nil if those are not all part of `text`, in their order.
local function pieces_around(text, replaced)
  local pieces, at = {}, 1
  local starts = vim.str_utf_pos(replaced)
  for i, start in ipairs(starts) do
    local char = replaced:sub(start, (starts[i + 1] or #replaced + 1) - 1)
    local found = text:find(char, at, true)
    if not found then
      return nil
    end
    if found > at then
      pieces[#pieces + 1] = { offset = start - 1, text = text:sub(at, found - 1) }
    end
    at = found + #char
  end
  if at <= #text then
    pieces[#pieces + 1] = { offset = #replaced, text = text:sub(at) }
  end
  return pieces
end

--- Between what stands in the line, which moves aside.
local function draw_inline(ghost, pieces, below)
  local line = vim.api.nvim_buf_get_lines(ghost.buf, ghost.row, ghost.row + 1, false)[1]
  local column = width(line:sub(1, ghost.column), 0)
  for _, piece in ipairs(pieces) do
    vim.api.nvim_buf_set_extmark(ghost.buf, namespace, ghost.row, ghost.column + piece.offset, {
      virt_text = { { expand_tabs(piece.text, column), "StarlingGhost" } },
      virt_text_pos = "inline",
      hl_mode = "combine",
    })
  end
  vim.api.nvim_buf_set_extmark(ghost.buf, namespace, ghost.row, ghost.column, {
    virt_text = #ghost.hints > 0 and ghost.hints or nil,
    virt_text_pos = "eol",
    virt_lines = below,
  })
end

--- Over the rest of the line, which the suggestion replaces or takes along to its last line.
local function draw_over(ghost, first, rest, below)
  local line = vim.api.nvim_buf_get_lines(ghost.buf, ghost.row, ghost.row + 1, false)[1]
  local column = width(line:sub(1, ghost.column), 0)
  local text = expand_tabs(first, column)
  local covered = width(ghost.after, column)
  local chunks = { { text, "StarlingGhost" } }
  if below then
    table.insert(below[#below], { rest })
  else
    table.insert(chunks, { rest })
    text = text .. rest
  end
  vim.list_extend(chunks, ghost.hints)
  table.insert(chunks, { (" "):rep(covered - width(text, column)) })
  vim.api.nvim_buf_set_extmark(ghost.buf, namespace, ghost.row, ghost.column, {
    virt_text = chunks,
    virt_text_pos = "overlay",
    virt_lines = below,
  })
end

--- Shows `ghost.text` at a place, instead of what is shown in the buffer.
---@param ghost {buf: integer, row: integer, column: integer, text: string, replaced: string,
---  after: string, hints: table[]} `after` is the rest of the line and begins with `replaced`
function M.draw(ghost)
  M.clear(ghost.buf)
  local lines = vim.split(ghost.text, "\n", { plain = true })
  local first = table.remove(lines, 1)
  local below = #lines > 0 and {} or nil
  for _, line in ipairs(lines) do
    table.insert(below, { { line == "" and " " or expand_tabs(line, 0), "StarlingGhost" } })
  end
  local pieces = (not below or ghost.after == "") and pieces_around(first, ghost.replaced)
  if pieces then
    draw_inline(ghost, pieces, below)
  else
    draw_over(ghost, first, ghost.after:sub(#ghost.replaced + 1), below)
  end
end

--- Takes everything away.
function M.clear(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

return M
