"""The real VS Code under test: code-server with the packaged extension, in headless Chromium.

As a user has it: the .vsix is installed by VS Code's own command, keys go in through the browser,
and what is read back is what stands on the screen or on the disk. Nothing outside this machine can
be reached. Waiting is on conditions, with one time limit.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright
from playwright.sync_api import Error as BrowserError

TIMEOUT_S = 60.0
ASK_AGAIN_S = 3.0
POLL_S = 0.02
SIZE = {"width": 1200, "height": 700}

# What would get into the way of a test, and has nothing to do with us.
EDITOR_SETTINGS: Mapping[str, Any] = {
    "chat.disableAIFeatures": True,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.wordBasedSuggestions": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "git.enabled": False,
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "window.dialogStyle": "custom",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.welcomePage.walkthroughs.openOnInstall": False,
}
_SERVER_ARGUMENTS = (
    "--auth=none",
    "--disable-telemetry",
    "--disable-update-check",
    "--disable-workspace-trust",
    "--disable-getting-started-override",
    "--disable-file-downloads",
    "--disable-proxy",
    "--ignore-last-opened",
)
_BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
# Ghost text is a span for each syntax token; further lines stand in a zone between the lines.
_GHOST = """editor => {
  const text = nodes =>
    [...nodes].map(node => node.textContent).join('').replaceAll('\\u00a0', ' ');
  const first = editor.querySelectorAll('.view-lines [class*="ghost-text-decoration"]');
  const more = editor.querySelectorAll('.suggest-preview-text .view-line');
  return [text(first), ...[...more].map(line => text([line]))].join('\\n').replace(/^\\n+$/, '');
}"""


class Workbench:
    """One code-server and one browser. A context manager; leaving it ends both."""

    def __init__(
        self,
        *,
        code_server: Path,
        node: Path,
        chromium: Path,
        vsix: Path,
        directory: Path,
        environment: Mapping[str, str],
        settings: Mapping[str, Any],
    ) -> None:
        self.directory = directory
        self.foreign_requests: set[str] = set()
        # A short path: the names of sockets are limited to about a hundred bytes.
        self.home = Path(tempfile.mkdtemp(prefix="vsc-"))
        self._entry = [str(node), str(code_server / "out" / "node" / "entry.js")]
        self._environment = _clean(environment) | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / "share"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_RUNTIME_DIR": str(self.home),
            "TMPDIR": str(self.home),
            "EXTENSIONS_GALLERY": "{}",
        }
        self._data = self.home / "data"
        self._folders = [
            f"--user-data-dir={self._data}",
            f"--extensions-dir={self.home / 'extensions'}",
        ]
        self._chromium = chromium
        self._vsix = vsix
        self._server: subprocess.Popen[bytes] | None = None
        self._playwright: Playwright | None = None
        self._context: BrowserContext | None = None
        self.write_settings(settings)

    def __enter__(self) -> Self:
        try:
            self._install()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._context is not None:
            self._context.close()
        if self._playwright is not None:
            self._playwright.stop()
        if self._server is not None:
            _end_group(self._server)
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def storage(self) -> Path:
        """The extension's own folder on this machine."""
        return self._data / "User" / "globalStorage" / "starling.starling"

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """The user's settings; those of the machine are read from a file of their own."""
        for folder in ("User", "Machine"):
            path = self._data / folder / "settings.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**EDITOR_SETTINGS, **settings}, indent=1), "utf-8")

    def open_window(self, folder: Path) -> "Window":
        """A window of VS Code on a folder."""
        assert self._context is not None, "use it as a context manager"
        page = self._context.new_page()
        page.on("request", lambda request: self._note_request(request.url))
        page.set_default_timeout(TIMEOUT_S * 1000)
        page.goto(f"http://127.0.0.1:{self._port}/?folder={quote(str(folder))}")
        page.wait_for_selector(".monaco-workbench .statusbar", timeout=60_000)
        return Window(page, folder, self.directory)

    def _install(self) -> None:
        command = [*self._entry, *self._folders, "--install-extension", str(self._vsix), "--force"]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert "was successfully installed" in done.stdout, done.stdout + done.stderr

    def _start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        log = (self.directory / "code-server.log").open("wb")
        address = f"--bind-addr=127.0.0.1:{self._port}"
        with log:
            self._server = subprocess.Popen(
                [*self._entry, *_SERVER_ARGUMENTS, *self._folders, address],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._playwright = sync_playwright().start()
        wait_until(self._is_up, "code-server answers")
        self._context = self._playwright.chromium.launch_persistent_context(
            self.home / "chromium",
            executable_path=self._chromium,
            headless=True,
            viewport=SIZE,
            args=list(_BROWSER_ARGUMENTS),
            # What the browser asks for is seen by `foreign_requests`.
            env={k: v for k, v in self._environment.items() if k != "LD_PRELOAD"},
        )
        self._context.grant_permissions(["clipboard-read", "clipboard-write"])

    def _is_up(self) -> bool:
        assert self._server and self._server.poll() is None, (
            "code-server ended at once; see code-server.log"
        )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/healthz") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _note_request(self, url: str) -> None:
        # Web views load their files from a name that a worker in the page answers.
        address = re.match(r"(?:https?|wss?)://([^:/]+)", url)
        if address and not re.search(r"^127\.0\.0\.1$|\.vscode-cdn\.net$", address[1]):
            self.foreign_requests.add(url)


class Window:
    """One window, with the hands and eyes of its user."""

    def __init__(self, page: Page, folder: Path, pictures: Path) -> None:
        self.page = page
        self.folder = folder
        self._pictures = pictures

    def press(self, *keys: str) -> None:
        """Single keys, by Playwright's names."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str, *, delay_ms: float = 0) -> None:
        """Text, key by key."""
        self.page.keyboard.type(text, delay=delay_ms)

    def command(self, title: str) -> None:
        """Runs a command by its title in the palette."""
        self.press("F1")
        self._pick(f">{title}", title)

    def open(self, name: str, text: str | None = None) -> Path:
        """Opens a file of the folder, written anew when a text is given, as the only editor."""
        path = self.folder / name
        self.close_all()
        if text is not None:
            path.write_bytes(text.encode())
        self.press("Control+p")
        self._pick(str(path), path.name)
        wait_until(lambda: self.title == path.name, f"{name} is open")
        self.editor.locator(".view-lines").wait_for()
        wait_until(lambda: self.page.locator(".monaco-editor.focused").count() == 1, "focus")
        return path

    def close_all(self) -> None:
        """Closes every editor, without saving."""
        self.press("Escape", "Control+k", "Control+w")
        dialog = self.page.locator(".monaco-dialog-box")
        tabs = self.page.locator(".editor-group-container .tab")

        def is_done() -> bool:
            if dialog.count():
                dialog.get_by_role("button", name="Don't Save").click()
            return bool(tabs.count() == 0)

        wait_until(is_done, "all editors are closed")

    def go_to_end(self, line: int) -> None:
        """Puts the cursor at the end of a line, counted from 1."""
        self.press("Control+g")
        self._pick(f":{line}", "")
        wait_until(lambda: self.cursor_line == line, lambda: f"not line {line}: {self.cursor_line}")
        self.press("End")

    def assert_saved(self, path: Path, wanted: str) -> None:
        """Saves; on the disk stands, to the byte, what is wanted."""
        self.press("Control+s")
        end_s = time.monotonic() + TIMEOUT_S
        while path.read_bytes() != wanted.encode() and time.monotonic() < end_s:
            time.sleep(POLL_S)
        found = path.read_bytes().decode()
        assert found == wanted, f"{found!r} instead of {wanted!r}"

    def buffer(self) -> str:
        """The whole text in the editor, also when it is on no disk; leaves all of it selected."""
        self.press("Control+a", "Control+c")
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def wait_ghost(self, wanted: Callable[[str], bool] = bool) -> str:
        """Ghost text that fits, waited for."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [self.ghost]
            return wanted(found[0])

        wait_until(look, lambda: f"ghost text is {found}, status {self.status!r}")
        return found[0]

    def wait_status(self, words: str) -> str:
        """A status bar item that holds these words; its text."""
        wait_until(lambda: words in self.status, lambda: f"{words!r} is not in {self.status!r}")
        return self.status

    def wait_row(self, text: str) -> None:
        """A row of the quick pick that is open."""
        self._row(text).wait_for()

    def pick(self, text: str) -> None:
        """Takes a row of the quick pick that is open."""
        self._row(text).click()

    def wait_page(self, *words: str) -> str:
        """The text of the Markdown page beside the code, once it holds these words."""
        found: list[str] = [""]

        def look() -> bool:
            found[:] = [_text_of_pages(self.page)]
            return all(word in found[0] for word in words)

        wait_until(look, lambda: f"no page with {words}, but {found[0]!r}")
        return found[0]

    def pick_from_menu(self, text: str) -> None:
        """Takes an entry of Starling's menu in the status bar, once the menu has it."""
        self.wait_menu(text)
        self.pick(text)

    def wait_menu(self, text: str) -> None:
        """Opens Starling's menu, again until it has this entry."""
        row = self._row(text)

        def look() -> bool:
            self.press("Escape")
            self.page.locator('.statusbar-item[id^="starling"]').click()
            self._row("Open the log").wait_for()
            return bool(row.count())

        wait_until(look, f"the menu has no {text!r}")

    def ask(self, wanted: str) -> None:
        """Asks for a suggestion by key, and waits until it shows."""
        self.press("Alt+Backslash")
        self.wait_ghost(lambda ghost: ghost == wanted)

    def quick_fix(self, title: str, *, picture: str = "") -> None:
        """Takes a fix for what is at the cursor; asks again: marks that move close the menu."""
        fix = self.page.locator(".action-widget .monaco-list-row", has_text=title)
        asked_s = 0.0

        def look() -> bool:
            nonlocal asked_s
            if not fix.count() and time.monotonic() - asked_s > ASK_AGAIN_S:
                asked_s = time.monotonic()
                self.press("Escape", "Control+Period")
            return bool(fix.count())

        wait_until(look, f"no fix {title!r}")
        if picture:
            self.picture(picture)
        fix.click()

    def picture(self, name: str) -> None:
        """Keeps a screenshot."""
        self.page.screenshot(path=self._pictures / f"{name}.png", caret="initial")

    @property
    def editor(self) -> Any:
        """The editor in which one types."""
        return self.page.locator(".editor-instance .monaco-editor").first

    @property
    def ghost(self) -> str:
        """Ghost text as it stands on the screen; empty when there is none."""
        return str(self.editor.evaluate(_GHOST))

    @property
    def title(self) -> str:
        """Name on the active tab."""
        tab = self.page.locator(".tab.active").first
        return str(tab.get_attribute("data-resource-name")) if tab.count() else ""

    @property
    def cursor_line(self) -> int:
        """The line of the cursor, as the status bar says it."""
        found = re.search(r"Ln (\d+), Col", self.page.locator(".statusbar").inner_text())
        return int(found[1]) if found else 0

    @property
    def status(self) -> str:
        """Starling's text in the status bar."""
        item = self.page.locator('.statusbar-item[id^="starling"]')
        return (item.first.inner_text() or "").strip() if item.count() else ""

    @property
    def spoken_status(self) -> str:
        """What a screen reader says of it."""
        item = self.page.locator('.statusbar-item[id^="starling"] [aria-label]')
        return str(item.first.get_attribute("aria-label"))

    @property
    def toasts(self) -> list[str]:
        """Notifications that are open."""
        return list(self.page.locator(".notification-toast").all_inner_texts())

    def _row(self, text: str) -> Any:
        return self.page.locator(".quick-input-list .monaco-list-row", has_text=text).first

    def _pick(self, typed: str, row: str) -> None:
        field = self.page.locator(".quick-input-widget:visible input").first
        field.fill(typed)
        self._row(row).click()


def wait_until(
    condition: Callable[[], bool], what: str | Callable[[], str], *, timeout_s: float = TIMEOUT_S
) -> None:
    """Asks again and again; AssertionError when it does not come true in time."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(what if isinstance(what, str) else what())
        time.sleep(POLL_S)


def _text_of_pages(page: Page) -> str:
    """A page is a frame in a frame, and each change replaces it."""
    texts = []
    for frame in page.frames[1:]:
        try:
            texts += frame.locator("body.vscode-body").all_inner_texts()
        except BrowserError:
            continue
    return "\n".join(texts)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what another VS Code around the tests would tell this one."""
    wrong = re.compile(r"VSCODE_|CODE_SERVER|(HASHED_)?PASSWORD$|PORT$")
    return {name: value for name, value in environment.items() if not wrong.match(name)}


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """code-server is a wrapper with a server, an extension host and a pty host below it."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait(TIMEOUT_S)
