-- What a suggestion repeats, in a few words. The facts ride in the item's command.
local M = {}

--- `click 8.5.1, BSD-3-Clause`
local function name_of(source)
  local function text(value)
    return type(value) == "string" and value ~= "" and value or nil
  end
  local package = text(source.package) or text(source.path) or "unknown"
  local version = text(source.version)
  local name = version and package .. " " .. version or package
  return name .. ", " .. (text(source.licence) or "no licence known")
end

--- The words for a suggestion that copies code of the training data; nil for any other.
function M.words(command)
  local facts = vim.tbl_get(command or {}, "arguments", 1)
  if type(facts) ~= "table" or facts.verdict ~= "copy" then
    return nil
  end
  local copies = vim.tbl_filter(function(match)
    return match.verdict == "copy"
  end, facts.matches or {})
  local sources = vim.tbl_get(copies, 1, "sources") or {}
  if #sources == 0 then
    return "copy of the training data"
  end
  local more = #sources > 1 and (" and %d more"):format(#sources - 1) or ""
  return "copy: " .. name_of(sources[1]) .. more
end

return M
