-- The last thing that the server said of itself, and how it is shown. An event `User StarlingStatus`
-- comes with each change.
local M = {}

--- STATUS of the server: state, reason, model, verdict, source, tokensPerSecond, hitRate,
--- workspaceTokens.
M.current = { state = "off", reason = "no file of a wanted type was opened" }

local MARKS = {
  loading = "loading",
  busy = "...",
  paused = "paused",
  error = "error",
}

--- Takes a status of the server, or of its process.
function M.set(values)
  local before = M.current
  M.current = {}
  for name, value in pairs(values) do
    if value ~= vim.NIL then
      M.current[name] = value
    end
  end
  vim.cmd.redrawstatus({ bang = true })
  vim.api.nvim_exec_autocmds("User", {
    pattern = "StarlingStatus",
    modeline = false,
    data = { before = before.state, state = M.current.state },
  })
end

--- What goes into a status line: what the user should know now, in a few words.
function M.line()
  local config = require("starling.config")
  local buf = vim.api.nvim_get_current_buf()
  if not config.current or not require("starling.switch").is_for_starling(buf) then
    return ""
  end
  if not require("starling.switch").is_on(buf) then
    return "Starling off"
  end
  local current = M.current
  if MARKS[current.state] then
    return "Starling " .. MARKS[current.state]
  end
  if current.verdict == "copy" then
    return "Starling copy: " .. (current.source or "of the training data")
  end
  return current.state == "off" and "Starling off" or "Starling"
end

local function percent(share)
  return share and ("%.0f %%"):format(100 * share)
end

local function tokens(count)
  return count and count > 0 and ("%d tokens"):format(count) or nil
end

--- Everything that is known, as lines of Markdown.
function M.markdown()
  local current = M.current
  local rows = {
    { "State", current.state },
    { "Reason", current.reason ~= "" and current.reason or nil },
    { "Model", current.model },
    { "Last suggestion", current.verdict },
    { "Source", current.source },
    { "Tokens per second", current.tokensPerSecond and ("%.0f"):format(current.tokensPerSecond) },
    { "Answered from the cache", percent(current.hitRate) },
    { "Words of the workspace", tokens(current.workspaceTokens) },
  }
  local lines = {}
  for _, name_and_value in ipairs(rows) do
    if name_and_value[2] then
      lines[#lines + 1] = ("- **%s**: %s"):format(name_and_value[1], name_and_value[2])
    end
  end
  return lines
end

return M
