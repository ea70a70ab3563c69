-- The server's process and what is said to it, with what differs between Neovim 0.10 and 0.12.
-- One server for the whole of Neovim: the model is in memory once, whatever the projects.
local config = require("starling.config")
local status = require("starling.status")
local switch = require("starling.switch")

local M = {}

local NAME = "starling"
local HAS_METHODS = vim.fn.has("nvim-0.11") == 1
-- A server that ends by itself is started again, but not for ever.
local MAX_RESTARTS = 3
local RESTARTS_WITHIN_S = 60

local restarts_s = {}
local stopping = false
-- Which language the server was told for a buffer.
local language_of = {}

--- Client functions are closures in 0.10 and methods since.
local function call(client, name, ...)
  if HAS_METHODS then
    return client[name](client, ...)
  end
  return client[name](...)
end

--- The running client, ready for requests or not; nil without one.
local function running()
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    if not call(client, "is_stopped") then
      return client
    end
  end
end

--- The client that serves a buffer, once it answers; nil before.
function M.of(buf)
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME, bufnr = buf })) do
    -- `supports_method` is true of methods that 0.10 and 0.11 do not know.
    local able = vim.tbl_get(client, "server_capabilities", "inlineCompletionProvider")
    if client.initialized and able then
      return client
    end
  end
end

--- Sends a request; what cancels it. `on_answer` gets the error and the result.
function M.request(client, method, params, on_answer, buf)
  local ok, id = call(client, "request", method, params, on_answer, buf)
  return function()
    if ok and not call(client, "is_stopped") then
      call(client, "cancel_request", id)
    end
  end
end

--- Runs one of the server's commands; what cancels it. `on_result` gets its result, nil where it
--- failed.
function M.command(name, argument, on_result)
  local client = running()
  if not client or not client.initialized then
    local reason = status.current.reason or "the server does not run"
    vim.notify("Starling: " .. reason, vim.log.levels.WARN)
    return function() end
  end
  local params = { command = "starling." .. name, arguments = { argument } }
  return M.request(client, "workspace/executeCommand", params, function(err, result)
    if result == vim.NIL then
      result = nil
    end
    if on_result then
      on_result(not err and result or nil)
    end
  end, 0)
end

--- A command's result, waited for no longer than `timeout_ms`; nil where it did not come.
function M.command_result(name, argument, timeout_ms)
  local client = running()
  if not client or not client.initialized then
    return nil
  end
  local params = { command = "starling." .. name, arguments = { argument } }
  local answer = call(client, "request_sync", "workspace/executeCommand", params, timeout_ms, 0)
  return answer and answer.result
end

--- An empty object, where `{}` would be a list.
function M.empty()
  return vim.empty_dict()
end

--- Position of the cursor, and in which units.
function M.position(client)
  return vim.lsp.util.make_position_params(0, client.offset_encoding)
end

--- Byte column of a position in a line.
function M.column_bytes(client, line, character)
  if client.offset_encoding == "utf-8" then
    return math.min(character, #line)
  elseif HAS_METHODS then
    return vim.str_byteindex(line, client.offset_encoding, character, false)
  end
  local ok, column = pcall(vim.str_byteindex, line, character, client.offset_encoding == "utf-16")
  return ok and column or #line
end

-- How the server's process ended.
local ended = { code = 0, signal = 0 }

local function on_exit(id)
  if vim.lsp.get_client_by_id(id) then
    -- Neovim still knows the client, and would take it for the one to use.
    vim.defer_fn(function()
      on_exit(id)
    end, 10)
    return
  end
  local in_order = ended.code == 0 and ended.signal == 0
  local asked_for = stopping or in_order or vim.v.exiting ~= vim.NIL
  stopping = false
  if asked_for then
    status.set({ state = "off", reason = "the server was stopped" })
    return
  end
  local now_s = vim.uv.now() / 1000
  restarts_s = vim.tbl_filter(function(at_s)
    return now_s - at_s < RESTARTS_WITHIN_S
  end, restarts_s)
  if #restarts_s >= MAX_RESTARTS then
    local why = ended.signal ~= 0 and ("signal %d"):format(ended.signal)
      or ("exit status %d"):format(ended.code)
    local reason = "the server ended again and again (%s): see :checkhealth starling, "
      .. "then :Starling restart"
    status.set({ state = "error", reason = reason:format(why) })
    return
  end
  restarts_s[#restarts_s + 1] = now_s
  status.set({ state = "loading", reason = "the server ended and is started again" })
  M.attach_all()
end

--- Starts the process. Neovim would tell its user, over several lines, of one that ended badly: the
--- status says so.
local function start_process(dispatchers)
  local tell_client = dispatchers.on_exit
  dispatchers.on_exit = function(code, signal)
    ended = { code = code, signal = signal }
    tell_client(0, 0)
  end
  return vim.lsp.rpc.start(config.current.cmd, dispatchers)
end

local function client_config(buf)
  local capabilities = vim.lsp.protocol.make_client_capabilities()
  -- 0.10 and 0.11 do not know it; what is asked is what the ghost text of this plugin can show.
  capabilities.textDocument.inlineCompletion = { dynamicRegistration = false }
  return {
    name = NAME,
    cmd = start_process,
    root_dir = vim.fs.root(buf, config.current.root_markers),
    capabilities = capabilities,
    before_init = function(parameters)
      -- The server thinks that Neovim has waited before it asks, as its own ghost text does.
      if config.current.engine == "own" then
        parameters.clientInfo.name = "Neovim, starling"
      end
    end,
    init_options = config.current.settings,
    settings = { starling = config.current.settings },
    handlers = {
      ["starling/status"] = function(_, values)
        status.set(values)
      end,
      ["$/progress"] = function(err, values, context, ...)
        if not require("starling.explain").on_progress(values) then
          vim.lsp.handlers["$/progress"](err, values, context, ...)
        end
      end,
    },
    on_attach = function(client, attached)
      require("starling.keys").engine().attach(client, attached)
    end,
    on_exit = vim.schedule_wrap(function(_, _, id)
      on_exit(id)
    end),
  }
end

--- The server knows a document by its URI, and all unnamed buffers have the same: one at a time.
local function detach_other_unnamed(buf)
  if vim.api.nvim_buf_get_name(buf) ~= "" then
    return
  end
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    for other in pairs(client.attached_buffers) do
      if other ~= buf and vim.api.nvim_buf_get_name(other) == "" then
        vim.lsp.buf_detach_client(other, client.id)
      end
    end
  end
end

--- Tells the server of a project that it was not started in.
local function add_folder(client, root)
  local capabilities = client.server_capabilities or {}
  local supported = vim.tbl_get(capabilities, "workspace", "workspaceFolders", "supported")
  if not root or not client.initialized or not supported then
    return
  end
  client.workspace_folders = client.workspace_folders or {}
  for _, folder in ipairs(client.workspace_folders) do
    if folder.name == root then
      return
    end
  end
  local folder = { uri = vim.uri_from_fname(root), name = root }
  table.insert(client.workspace_folders, folder)
  local event = { added = { folder }, removed = {} }
  call(client, "notify", "workspace/didChangeWorkspaceFolders", { event = event })
end

--- Gives a buffer to the server if it is for Starling, and takes it away if it no more is.
function M.attach(buf)
  local attached = vim.lsp.get_clients({ name = NAME, bufnr = buf })[1]
  local wanted = switch.is_for_starling(buf)
  local filetype = vim.bo[buf].filetype
  if attached and (not wanted or language_of[buf] ~= filetype) then
    vim.lsp.buf_detach_client(buf, attached.id)
    attached = nil
  end
  if attached or not wanted or status.current.state == "error" and not running() then
    return
  end
  if vim.fn.executable(config.current.cmd[1]) == 0 then
    local reason = "there is no program `%s` on PATH: install Starling, or set `cmd` in setup()"
    reason = reason:format(config.current.cmd[1])
    status.set({ state = "error", reason = reason })
    vim.notify_once("Starling: " .. reason, vim.log.levels.WARN)
    return
  end
  detach_other_unnamed(buf)
  language_of[buf] = filetype
  local settings = client_config(buf)
  local id = vim.lsp.start(settings, {
    bufnr = buf,
    reuse_client = function(client)
      return client.name == NAME and not call(client, "is_stopped")
    end,
  })
  local client = id and vim.lsp.get_client_by_id(id)
  if client then
    add_folder(client, settings.root_dir)
  end
end

--- Gives every buffer that is on the screen to the server; others follow when they are entered.
function M.attach_all()
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    M.attach(vim.api.nvim_win_get_buf(window))
  end
end

--- Ends the server, if there is one, and starts another.
function M.restart()
  restarts_s = {}
  status.set({ state = "loading", reason = "" })
  local client = running()
  if not client then
    M.attach_all()
    return
  end
  stopping = true
  call(client, "stop")
  local n_tries = 0
  local function start_when_ended()
    n_tries = n_tries + 1
    if n_tries == 40 then
      call(client, "stop", true)
    end
    if #vim.lsp.get_clients({ name = NAME }) > 0 then
      vim.defer_fn(start_when_ended, 50)
    else
      M.attach_all()
    end
  end
  start_when_ended()
end

return M
