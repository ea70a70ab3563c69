-- The options of setup(): their defaults, and what is wrong with those that the user wrote.
-- The server's settings are not known here but in settings.lua, which is made from the server's.
local M = {}

--- A filetype to true or false; "*" is every other one.
local function is_filetypes(value)
  for name, on in pairs(value) do
    if type(name) ~= "string" or type(on) ~= "boolean" then
      return false
    end
  end
  return true
end

local function is_list_of_strings(value)
  return vim.islist(value) and vim.iter(value):all(function(item)
    return type(item) == "string"
  end)
end

local function is_one_of(...)
  local allowed = { ... }
  return function(value)
    return vim.list_contains(allowed, value)
  end
end

local OPTIONS = {
  cmd = {
    default = { "starling", "serve" },
    expects = 'the words of the server\'s command line, e.g. { "starling", "serve" }',
    fits = function(value)
      return type(value) == "table" and #value > 0 and is_list_of_strings(value)
    end,
  },
  filetypes = {
    default = {},
    expects = 'a table of filetypes, e.g. { markdown = false } or { ["*"] = false, python = true }',
    fits = function(value)
      return type(value) == "table" and is_filetypes(value)
    end,
  },
  root_markers = {
    default = { ".git", "pyproject.toml", "package.json", "Cargo.toml", "go.mod" },
    expects = "a list of file names",
    fits = function(value)
      return type(value) == "table" and is_list_of_strings(value)
    end,
  },
  engine = {
    default = "own",
    expects = '"own", or "native" (Neovim 0.12)',
    fits = function(value)
      return value == "own" or value == "native" and vim.lsp.inline_completion ~= nil
    end,
  },
  debounce_ms = {
    default = 0,
    expects = "milliseconds, 0 to 5000",
    fits = function(value)
      return type(value) == "number" and value >= 0 and value <= 5000
    end,
  },
  menu = {
    default = "hide",
    expects = '"hide" or "extend"',
    fits = is_one_of("hide", "extend"),
  },
  show_origin = {
    default = true,
    expects = "true or false",
    fits = is_one_of(true, false),
  },
}

M.DEFAULT_KEYS = {
  accept = "<Tab>",
  accept_line = "<M-l>",
  accept_word = "<M-w>",
  next = "<M-]>",
  previous = "<M-[>",
  dismiss = "<C-]>",
}

--- The known name that is nearest to a wrong one, nil when none is near.
local function nearest(wrong, names)
  local best, best_distance = nil, 4
  for _, name in ipairs(names) do
    local distance = M.edit_distance(wrong:lower(), name:lower())
    if distance < best_distance then
      best, best_distance = name, distance
    end
  end
  return best
end

local function unknown(what, name, names)
  table.sort(names)
  local guess = nearest(tostring(name), names)
  return ("%s `%s` does not exist: %s"):format(
    what,
    name,
    guess and ("did you mean `%s`?"):format(guess) or "there are " .. table.concat(names, ", ")
  )
end

--- Levenshtein's distance, in bytes.
function M.edit_distance(one, other)
  local row = {}
  for j = 0, #other do
    row[j] = j
  end
  for i = 1, #one do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #other do
      local changed = diagonal + (one:byte(i) == other:byte(j) and 0 or 1)
      diagonal = row[j]
      row[j] = math.min(changed, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#other]
end

local JSON_TYPES = {
  boolean = function(value)
    return type(value) == "boolean"
  end,
  string = function(value)
    return type(value) == "string"
  end,
  number = function(value)
    return type(value) == "number"
  end,
  integer = function(value)
    return type(value) == "number" and value % 1 == 0
  end,
  array = function(value)
    return type(value) == "table" and is_list_of_strings(value)
  end,
}

local function setting_fits(fact, value)
  if value == vim.NIL then
    return fact.optional
  end
  return JSON_TYPES[fact.type](value)
    and (not fact.enum or vim.list_contains(fact.enum, value))
    and (not fact.minimum or value >= fact.minimum)
    and (not fact.maximum or value <= fact.maximum)
end

local function expected_of_setting(fact)
  if fact.enum then
    return "one of " .. table.concat(fact.enum, ", ")
  end
  local names = { array = "a list of strings", boolean = "true or false", integer = "a whole number" }
  local range = fact.minimum and (" from %g to %g"):format(fact.minimum, fact.maximum) or ""
  return (names[fact.type] or "a " .. fact.type) .. range
end

local function take_settings(given, problems)
  -- JSON of an empty table is a list, which is no settings.
  local facts, taken = require("starling.settings"), vim.empty_dict()
  for name, value in pairs(given) do
    local fact = facts[name]
    if not fact then
      problems[#problems + 1] = unknown("the setting", name, vim.tbl_keys(facts))
    elseif not setting_fits(fact, value) then
      local expected = expected_of_setting(fact)
      problems[#problems + 1] = ("settings.%s must be %s"):format(name, expected)
    else
      taken[name] = value
    end
  end
  return taken
end

--- Keys that the user named are `chosen`: they are mapped even where they had a meaning.
local function take_keys(given, problems)
  local taken = {}
  for action, lhs in pairs(M.DEFAULT_KEYS) do
    taken[action] = { lhs = lhs, chosen = false }
  end
  for action, lhs in pairs(given) do
    if not M.DEFAULT_KEYS[action] then
      problems[#problems + 1] = unknown("the key", action, vim.tbl_keys(M.DEFAULT_KEYS))
    elseif lhs ~= false and type(lhs) ~= "string" then
      problems[#problems + 1] = ("keys.%s must be a key, or false for none"):format(action)
    else
      taken[action] = lhs and { lhs = lhs, chosen = true } or nil
    end
  end
  return taken
end

--- Options as the user wrote them -> options to use, and a sentence for each that is wrong.
--- A wrong one keeps its default: a slip of the pen must not take the editor's other plugins along.
function M.read(given)
  local problems = {}
  local config = {}
  for name, option in pairs(OPTIONS) do
    config[name] = vim.deepcopy(option.default)
  end
  given = given or {}
  for name, value in pairs(given) do
    if name == "keys" or name == "settings" then
      if type(value) ~= "table" then
        problems[#problems + 1] = ("%s must be a table"):format(name)
      end
    elseif not OPTIONS[name] then
      local names = vim.list_extend({ "keys", "settings" }, vim.tbl_keys(OPTIONS))
      problems[#problems + 1] = unknown("the option", name, names)
    elseif not OPTIONS[name].fits(value) then
      problems[#problems + 1] = ("%s must be %s"):format(name, OPTIONS[name].expects)
    else
      config[name] = value
    end
  end
  config.keys = take_keys(type(given.keys) == "table" and given.keys or {}, problems)
  local settings = type(given.settings) == "table" and given.settings or {}
  config.settings = take_settings(settings, problems)
  table.sort(problems)
  return config, problems
end

--- What setup() found wrong, for :checkhealth.
M.problems = {}
--- The options in force; nil before setup().
M.current = nil

return M
