-- Explains code: asks the server and shows its Markdown while it comes.
local client_of = require("starling.client")
local window = require("starling.window")

local M = {}

-- The text so far goes to the window of its token.
local windows = {}
local n_asked = 0

--- Takes progress of the server if it belongs to an explanation; whether it did.
function M.on_progress(values)
  local shown = values and windows[values.token]
  local text = shown and vim.tbl_get(values, "value", "markdown")
  if type(text) == "string" then
    shown.set(text)
  end
  return shown ~= nil
end

--- The units of a position are the server's: the range of whole lines needs none.
local function lines_range(first, last)
  local text = vim.api.nvim_buf_get_lines(0, last - 1, last, false)[1] or ""
  local client = vim.lsp.get_clients({ name = "starling", bufnr = 0 })[1]
  local length = #text
  if client and client.offset_encoding ~= "utf-8" then
    length = vim.str_utfindex(text)
    if client.offset_encoding == "utf-16" then
      length = select(2, vim.str_utfindex(text))
    end
  end
  return {
    start = { line = first - 1, character = 0 },
    ["end"] = { line = last - 1, character = length },
  }
end

--- Explains `what`: a pair of lines, first and last; "file"; or nil for the function at the cursor.
function M.explain(what)
  local buf = vim.api.nvim_get_current_buf()
  local client = client_of.of(buf)
  if not client then
    vim.notify("Starling: the server does not know this buffer yet", vim.log.levels.WARN)
    return
  end
  n_asked = n_asked + 1
  local token = "starling-explain-" .. n_asked
  local argument = { textDocument = { uri = vim.uri_from_bufnr(buf) }, token = token }
  if type(what) == "table" then
    argument.range = lines_range(what[1], what[2])
  elseif what ~= "file" then
    argument.position = client_of.position(client).position
  end
  local cancel
  local shown = window.open("Starling explains", "markdown", function()
    windows[token] = nil
    cancel()
  end)
  shown.set("...")
  windows[token] = shown
  cancel = client_of.command("explain", argument, function(result)
    cancel = function() end
    windows[token] = nil
    shown.set(result and result.markdown or "No explanation: " .. M._why_not())
  end)
end

function M._why_not()
  local reason = require("starling.status").current.reason
  return reason and reason ~= "" and reason or "the server had none for this place."
end

return M
