"""How long from a key to ghost text on the screen of a real Neovim, and what of it is the server.

    python bench/neovim_latency.py [--keys N] [--json]

Keys are bytes on a terminal, and ghost text is there when its first characters come back on it. The
server's own time is from the message that asks to the message that answers, as Neovim sees them;
the difference is what the plugin, Neovim's event loop and its drawing add. The rival is Neovim
0.12's own ghost text, with the same server and the same keys. The time to load the plugin is what
`--startuptime` says of its files. Uses the Neovims that `make neovims` fetches.
"""

import argparse
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report, quantile
from tests.e2e.neovim import fetch
from tests.e2e.neovim.driver import Neovim, clean_environment, wait_until

TOOLS = REPOSITORY / "build" / "editor-tools"
MAX_ADDED_MS = 60.0
MAX_LOAD_MS = 5.0
N_STARTS = 7
INIT = """
vim.g.loaded_python3_provider = 0
vim.o.ruler, vim.o.showcmd, vim.o.showmode = false, false, false
vim.opt.runtimepath:prepend("%s/editors/nvim")
require("starling").setup({
  cmd = { "%s", "%s/starling.py", "serve" },
  engine = "%s",
  settings = { minConfidence = 0, debounceMs = 0, prefetch = false },
})
Asked_ms, Server_ms = 0, {}
vim.api.nvim_create_autocmd("LspRequest", { callback = function(event)
  if event.data.request.method ~= "textDocument/inlineCompletion" then return end
  local now_ms = vim.uv.hrtime() / 1e6
  if event.data.request.type == "pending" then Asked_ms = now_ms
  elseif event.data.request.type == "complete" then table.insert(Server_ms, now_ms - Asked_ms) end
end })
"""
HEAD = "import os\n\n\ndef read_lines(path):\n    "
# The first characters of the ghost text that are no spaces; nil without ghost text.
GHOST = """
for _, name in ipairs({ "starling.ghost", "nvim.lsp.inline_completion" }) do
  local namespace = vim.api.nvim_get_namespaces()[name]
  local marks = namespace
    and vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true }) or {}
  for _, mark in ipairs(marks) do
    for _, line in ipairs({ mark[4].virt_text or {}, unpack(mark[4].virt_lines or {}) }) do
      local word = line[1] and line[1][1]:match("%S+")
      if word then return word end
    end
  end
end"""
# Typed key by key; before each the ghost text is taken away, so that each is a request of its own.
TYPED = "return os.path.join(path, name)"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=40, help="how many keys, e.g. 40")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    arguments = parser.parse_args()
    report = Report(title="Neovim: from a key to ghost text on the screen")
    for version, engine in (("0.10", "own"), ("0.11", "own"), ("0.12", "own"), ("0.12", "native")):
        try:
            program = fetch.program_of(TOOLS, version)
        except fetch.CannotFetch as error:
            report.notes.append(f"NEOVIM {version} WAS NOT MEASURED: {error}")
            continue
        measure(program, version, engine, arguments.keys, report)
    report.show(as_json=arguments.json)
    sys.exit(int(any(row.met is False for row in report.rows)))


def measure(program: Path, version: str, engine: str, n_keys: int, report: Report) -> None:
    """Adds its rows; promised is what the plugin itself takes."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "config" / "nvim").mkdir(parents=True)
        values = (REPOSITORY, sys.executable, REPOSITORY, engine)
        (home / "config" / "nvim" / "init.lua").write_text(INIT % values)
        path = home / "a.py"
        path.write_text(HEAD + "\n")
        load_ms = statistics.median(loading_ms(program, home) for _ in range(N_STARTS))
        neovim = Neovim(program, home, (str(path),))
        try:
            neovim.wait_for(
                lambda: neovim.lua('return require("starling.status").current.state') == "ready",
                "the model",
            )
            seen_ms, server_ms = type_keys(neovim, n_keys)
        finally:
            neovim.close()
    name = f"{version}, {'our plugin' if engine == 'own' else 'its own ghost text'}"
    if not seen_ms:
        report.notes.append(f"NEOVIM {name} WAS NOT MEASURED: the model had nothing to say")
        return
    added_ms = [seen - server for seen, server in zip(seen_ms, server_ms, strict=True)]
    for what, values_ms in (("key to ghost text", seen_ms), ("of that the server", server_ms)):
        report.fact(f"{name}: {what}, median", statistics.median(values_ms), "ms")
        report.fact(f"{name}: {what}, 95th percentile", quantile(values_ms, 0.95), "ms")
    added, loading = f"{name}: added, 95th percentile", f"{name}: loading the plugin"
    if engine == "native":
        report.fact(added, quantile(added_ms, 0.95), "ms")
        return
    report.at_most(added, quantile(added_ms, 0.95), MAX_ADDED_MS, "ms")
    report.at_most(loading, load_ms, MAX_LOAD_MS, "ms")


def type_keys(neovim: Neovim, n_keys: int) -> tuple[list[float], list[float]]:
    """Milliseconds from each key to its ghost text, and of the server's part in it."""
    seen_ms, server_ms = [], []
    neovim.press("5GA")
    neovim.wait_for(lambda: neovim.lua(GHOST), "the first ghost text")
    for number in range(n_keys):
        if number % len(TYPED) == 0:
            neovim.press("<Esc>cc    ")
        neovim.press("<C-]>")
        neovim.lua("vim.wait(100) Server_ms = {}")
        neovim.drawn.clear()
        before_s = time.perf_counter()
        neovim.write_terminal(TYPED[number % len(TYPED)].encode())
        wait_until(lambda: neovim.lua("return #Server_ms") > 0)
        word = neovim.lua(f"vim.wait(100, function() {GHOST} end) {GHOST}")
        if word is None:
            continue  # The model has nothing to say here.
        wait_until(lambda word=word: drawn_at_s(neovim, word.encode()) < math.inf)
        seen_ms.append((drawn_at_s(neovim, word.encode()) - before_s) * 1000)
        server_ms.append(neovim.lua("return Server_ms[1]"))
    return seen_ms, server_ms


def drawn_at_s(neovim: Neovim, text: bytes) -> float:
    """When the text had come on the terminal; infinity before."""
    so_far = b""
    for at_s, chunk in tuple(neovim.drawn):
        so_far += chunk
        if text in so_far:
            return at_s
    return math.inf


def loading_ms(program: Path, home: Path) -> float:
    """Milliseconds that the plugin's own files took at a start (`--startuptime`, column `self`)."""
    report = home / "startup"
    report.unlink(missing_ok=True)
    command = [program, "--headless", "--startuptime", report, "+qa"]
    subprocess.run(command, env=clean_environment(home), check=True, capture_output=True)
    per_file: dict[str, float] = {}
    for line in report.read_text("utf-8").splitlines():
        found = re.match(r"[\d.]+ +[\d.]+ +([\d.]+): (.*starling.*)", line)
        if found and "init.lua" not in found[2]:
            per_file[found[2]] = float(found[1])
    assert per_file, "the plugin was not loaded"
    return sum(per_file.values())


if __name__ == "__main__":
    main()
