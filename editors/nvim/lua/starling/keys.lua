-- Keys of insert mode. A key of ours acts while there is ghost text; else it does what it did.
local config = require("starling.config")

local M = {}

--- Default keys that were left alone because the user had mapped them: {action, lhs}.
M.taken = {}

--- The module that shows ghost text.
function M.engine()
  return require(config.current.engine == "native" and "starling.native" or "starling.ghost")
end

local ACTIONS = {
  accept = function(engine)
    return engine.accept("all")
  end,
  accept_line = function(engine)
    return engine.accept("line")
  end,
  accept_word = function(engine)
    return engine.accept("word")
  end,
  next = function(engine)
    return engine.cycle(1) and ""
  end,
  previous = function(engine)
    return engine.cycle(-1) and ""
  end,
  dismiss = function(engine)
    return engine.dismiss() and ""
  end,
}

--- For `expr` mappings: the keys to type in place of the action's key; nil without ghost text.
function M.press(action)
  if not config.current then
    return nil
  end
  return ACTIONS[action](M.engine()) or nil
end

--- For any other caller: does it, and says whether there was ghost text.
function M.act(action)
  local keys = M.press(action)
  if keys and keys ~= "" then
    vim.api.nvim_feedkeys(keys, "in", true)
  end
  return keys ~= nil
end

local function termcodes(keys)
  return vim.api.nvim_replace_termcodes(keys, true, true, true)
end

--- Does what the key did before it was ours.
local function fall_back(before, lhs)
  if vim.tbl_isempty(before) then
    return termcodes(lhs)
  end
  if before.callback and before.expr == 1 then
    local keys = before.callback() or ""
    return before.replace_keycodes == 1 and termcodes(keys) or keys
  elseif before.callback then
    vim.schedule(before.callback)
    return ""
  end
  local rhs = before.rhs:gsub("<SID>", ("<SNR>%d_"):format(before.sid))
  local keys = termcodes(before.expr == 1 and vim.api.nvim_eval(rhs) or rhs)
  vim.api.nvim_feedkeys(keys, before.noremap == 1 and "in" or "im", true)
  return ""
end

local function is_neovims_own(mapping)
  return vim.startswith(mapping.desc or "", "vim.snippet.jump")
end

--- What stood at the keys that are ours now: lhs -> the mapping before.
local mapped = {}

local function unmap_all()
  for lhs, before in pairs(mapped) do
    pcall(vim.keymap.del, "i", lhs)
    if not vim.tbl_isempty(before) then
      vim.fn.mapset("i", false, before)
    end
  end
  mapped, M.taken = {}, {}
end

--- Maps the keys. A default key that the user has mapped stays as it is.
function M.map(keys)
  unmap_all()
  for action, key in pairs(keys) do
    local before = vim.fn.maparg(key.lhs, "i", false, true)
    if key.chosen or vim.tbl_isempty(before) or is_neovims_own(before) then
      mapped[key.lhs] = before
      vim.keymap.set("i", key.lhs, function()
        return M.press(action) or fall_back(before, key.lhs)
      end, {
        expr = true,
        silent = true,
        replace_keycodes = false,
        desc = "Starling: " .. action:gsub("_", " "),
      })
    else
      M.taken[#M.taken + 1] = { action = action, lhs = key.lhs }
    end
  end
end

return M
