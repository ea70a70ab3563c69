-- `:Starling WORD ...`
local client_of = require("starling.client")
local config = require("starling.config")
local status = require("starling.status")
local switch = require("starling.switch")

local M = {}

local function tell(text)
  vim.api.nvim_echo({ { text } }, false, {})
end

local function complain(text)
  vim.notify("Starling: " .. text, vim.log.levels.ERROR)
end

local function show(title, text, filetype)
  require("starling.window").open(title, filetype or "markdown").set(text)
end

local function models_by_name()
  local by_name = {}
  local found = client_of.command_result("models", client_of.empty(), 1000)
  for _, model in ipairs(type(found) == "table" and found or {}) do
    by_name[model.name] = model
  end
  return by_name
end

local function use_model(model)
  client_of.command("useModel", { path = model.path })
  tell("Starling: loading " .. model.name)
end

local function choose_model()
  client_of.command("models", client_of.empty(), function(models)
    if not models or #models == 0 then
      tell("Starling: no other model was found; see the setting modelFolders")
      return
    end
    vim.ui.select(models, {
      prompt = "Model:",
      format_item = function(model)
        local size = ("%.0f MB"):format((model.sizeBytes or 0) / 1e6)
        return ("%s %s (%s, %s)"):format(model.current and "*" or " ", model.name, model.kind, size)
      end,
    }, function(model)
      if model then
        use_model(model)
      end
    end)
  end)
end

local COMMANDS = {
  explain = {
    complete = function()
      return { "file" }
    end,
    run = function(words, call)
      local what = words[1] or call.range > 0 and { call.line1, call.line2 } or nil
      if words[1] and words[1] ~= "file" then
        complain("`:Starling explain` takes a range of lines, `file`, or nothing")
        return
      end
      require("starling.explain").explain(what)
    end,
  },
  status = {
    run = function()
      show("Starling", table.concat(status.markdown(), "\n"))
    end,
  },
  matches = {
    run = function()
      client_of.command("matches", client_of.empty(), function(result)
        local text = result and result.markdown or ""
        show("Whose code is it", text ~= "" and text or "Nothing was suggested yet.")
      end)
    end,
  },
  pause = {
    run = function(words)
      local minutes = tonumber(words[1])
      if words[1] and not minutes then
        complain("`:Starling pause` takes a number of minutes, or nothing")
        return
      end
      require("starling.keys").engine().dismiss()
      client_of.command("pause", minutes and { minutes = minutes } or client_of.empty())
    end,
  },
  resume = {
    run = function()
      client_of.command("resume", client_of.empty())
    end,
  },
  model = {
    complete = function()
      return vim.tbl_keys(models_by_name())
    end,
    run = function(words)
      if not words[1] then
        choose_model()
        return
      end
      local model = models_by_name()[words[1]]
      if model then
        use_model(model)
      else
        complain(("there is no model `%s`; `:Starling model` lists them"):format(words[1]))
      end
    end,
  },
  prompt = {
    run = function()
      local client = client_of.of(vim.api.nvim_get_current_buf())
      if not client then
        complain("the server does not know this buffer")
        return
      end
      client_of.command("showPrompt", client_of.position(client), function(text)
        show("What the model sees", text or "Nothing: the model is not loaded.", "")
      end)
    end,
  },
  toggle = {
    complete = function()
      return { "buffer", "filetype", "all" }
    end,
    run = function(words)
      if words[1] and not vim.list_contains({ "buffer", "filetype", "all" }, words[1]) then
        complain("`:Starling toggle` takes buffer, filetype or all")
        return
      end
      tell(switch.toggle(words[1]))
    end,
  },
  restart = {
    run = function()
      client_of.restart()
    end,
  },
}

local function names()
  local all = vim.tbl_keys(COMMANDS)
  table.sort(all)
  return all
end

--- Runs the user command.
function M.run(call)
  if not config.current then
    complain('it was not set up: call require("starling").setup{} in your init.lua')
    return
  end
  local words = vim.deepcopy(call.fargs)
  local name = table.remove(words, 1) or "status"
  local command = COMMANDS[name]
  if not command then
    complain(("`:Starling %s` does not exist: there are %s"):format(name, table.concat(names(), ", ")))
    return
  end
  command.run(words, call)
end

--- Completion of the command line.
function M.complete(typed, line)
  local words = vim.split(vim.trim(line:gsub("^.-Starling", "", 1)), "%s+", { trimempty = true })
  local candidates
  if #words == 0 or #words == 1 and typed ~= "" then
    candidates = names()
  else
    local command = COMMANDS[words[1]]
    candidates = command and command.complete and config.current and command.complete() or {}
  end
  return vim.tbl_filter(function(candidate)
    return vim.startswith(candidate, typed)
  end, candidates)
end

return M
