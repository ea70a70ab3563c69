-- What exists before setup(): the command and the names to map. Everything else is loaded when used.
if vim.g.loaded_starling then
  return
end
vim.g.loaded_starling = true

vim.api.nvim_create_user_command("Starling", function(call)
  require("starling.commands").run(call)
end, {
  nargs = "*",
  range = true,
  desc = "Starling: explain, status, matches, pause, model ...",
  complete = function(typed, line)
    return require("starling.commands").complete(typed, line)
  end,
})

for _, action in ipairs({ "accept", "accept_line", "accept_word", "next", "previous", "dismiss" }) do
  vim.keymap.set("i", "<Plug>(starling-" .. action:gsub("_", "-") .. ")", function()
    return require("starling.keys").press(action) or ""
  end, { expr = true, silent = true, replace_keycodes = false })
end
