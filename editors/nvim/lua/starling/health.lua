-- :checkhealth starling
local config = require("starling.config")

local M = {}

local function check_neovim()
  vim.health.start("starling: Neovim")
  if vim.fn.has("nvim-0.10") == 0 then
    vim.health.error("Neovim is older than 0.10: ghost text cannot be shown")
  else
    vim.health.ok("Neovim " .. tostring(vim.version()))
  end
  if vim.lsp.inline_completion then
    vim.health.info('This Neovim has ghost text of its own: `engine = "native"` uses it')
  end
end

local function check_options()
  vim.health.start("starling: options")
  if not config.current then
    vim.health.error("setup() was not called", { 'put require("starling").setup{} into your init.lua' })
    return
  end
  for _, problem in ipairs(config.problems) do
    vim.health.error(problem)
  end
  if #config.problems == 0 then
    vim.health.ok("every option of setup() is known and fits")
  end
  for _, key in ipairs(require("starling.keys").taken) do
    vim.health.warn(
      ("%s was mapped already, so it does not %s"):format(key.lhs, key.action:gsub("_", " ")),
      { ('choose a key: setup{ keys = { %s = "..." } }'):format(key.action) }
    )
  end
end

local function check_program()
  vim.health.start("starling: server")
  local cmd = config.current and config.current.cmd or { "starling", "serve" }
  if vim.fn.executable(cmd[1]) == 0 then
    vim.health.error(("there is no program `%s` on PATH"):format(cmd[1]), {
      "install Starling: `make try` in its source folder, or the wheel of a release",
      "or give its path: setup{ cmd = { '/path/to/starling', 'serve' } }",
    })
    return
  end
  vim.health.ok(("`%s` is %s"):format(cmd[1], vim.fn.exepath(cmd[1])))
end

local function check_client()
  local client = vim.lsp.get_clients({ name = "starling" })[1]
  local status = require("starling.status").current
  if not client then
    vim.health.warn("the server does not run: " .. (status.reason or ""), {
      "open a file of a wanted type, or :Starling restart",
      "its last words are in " .. vim.lsp.get_log_path(),
    })
    return
  end
  local info = client.server_info or {}
  local name = ("%s %s"):format(info.name or "server", info.version or "")
  vim.health.ok(("%s runs, position units %s"):format(name, client.offset_encoding))
  if status.state == "error" then
    vim.health.error(status.reason)
  else
    vim.health.ok(("state %s, model %s"):format(status.state, status.model or "not loaded yet"))
  end
end

function M.check()
  check_neovim()
  check_options()
  check_program()
  check_client()
end

return M
