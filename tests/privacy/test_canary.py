"""Guards "your code stays in your buffers": a word that was typed, and that nobody else knows, is
searched in every byte of every file that a day with the server leaves, and in what it said.

A failure is source code in a log, a cache or a crash report, where backups and bug reports pick it
up.
"""

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import working_day
from tests.editor import Editor
from tests.lsp_client import REPOSITORY, SERVE, LspClient

# All that a process may say: every logger at its lowest level, Python's own reports of crashes.
# pygls alone logs messages, and `server._quiet_libraries` says so.
_TALKATIVE = f"""
import faulthandler, logging, sys
sys.path.insert(0, {str(REPOSITORY)!r})
faulthandler.enable()
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("numba").setLevel(logging.INFO)  # It writes its own code, for minutes.
import starling
sys.exit(starling.main(["serve"]))
"""
_WITH_CORE_DUMPS = """
import os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.chdir(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"""
COMMANDS = {"as it ships": SERVE, "every log level": (sys.executable, "-c", _TALKATIVE)}
_LOUD = {"STARLING_DEBUG": "1", "PYTHONFAULTHANDLER": "1", "PYTHONASYNCIODEBUG": "1"}
SHARED_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


class Home:
    """A user's folders, empty at first, and what stands in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.word = f"canary{secrets.token_hex(8)}"
        self.workspace = self._made("workspace")
        self._started = self._made("mark").stat().st_mtime
        names = ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
        self.environment = {
            "HOME": str(self._made("home")),
            "TMPDIR": str(self._made("tmp")),
            **{f"XDG_{name}": str(self._made(name.lower())) for name in names},
        }

    def _made(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    def files(self) -> Iterator[Path]:
        """Every file that was made or written to since, also in folders that programs share."""
        yield from _files_below(self.folder)
        for folder in SHARED_FOLDERS:
            for path in _files_below(folder):
                try:
                    if path.lstat().st_mtime >= self._started:
                        yield path
                except OSError:
                    continue  # Somebody else's, and gone again.

    def holding(self, word: str) -> list[Path]:
        """Those whose bytes or whose name hold a word."""
        found = []
        for path in self.files():
            try:
                data = path.read_bytes() if path.is_file() else b""
            except OSError:
                continue
            utf16 = word.encode("utf-16-le")
            if word.encode() in data or utf16 in data or word in path.name:
                found.append(path)
        return found


def _files_below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=None):
        # The shared folder may hold the own one, which is searched already.
        folders[:] = [name for name in folders if not name.startswith("pytest-of-")]
        yield from (Path(where) / name for name in names)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("how", COMMANDS)
def test_nothing_of_a_day_is_left(home: Home, tiny_gguf: Path, how: str) -> None:
    as_it_ships = how == "as it ships"
    environment = home.environment | ({} if as_it_ships else _LOUD)
    bundle = None if as_it_ships else tiny_gguf
    with LspClient(COMMANDS[how], bundle=bundle, environment=environment) as client:
        working_day.begin(client, home.workspace)
        working_day.live(client, home.workspace, home.word)
        assert client.shut_down() == 0
    assert home.word.encode() not in client.stderr
    assert (client.stderr == b"") is as_it_ships, "the loud one is loud"
    assert home.holding(home.word) == []
    # That it was not kept by chance: the record, which was asked for, is there, without the code.
    (record,) = (path for path in home.holding("day.py") if path.is_relative_to(home.folder))
    assert record.name == "accepted.jsonl" and record.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("signal_", [signal.SIGSEGV, signal.SIGKILL])
def test_nothing_of_a_crash_is_left(home: Home, tiny_gguf: Path, signal_: signal.Signals) -> None:
    """In the middle of a computation, where the system and the shell would allow a core dump."""
    command = [sys.executable, "-c", _WITH_CORE_DUMPS, str(home.workspace), *SERVE]
    with LspClient(command, bundle=tiny_gguf, environment=home.environment) as client:
        working_day.begin(client, home.workspace)
        editor = Editor(client)
        editor.open((home.workspace / "day.py").as_uri(), f"{home.word} = 1\n|")
        limits = Path(f"/proc/{client.process.pid}/limits")
        if limits.exists():
            (line,) = [row for row in limits.read_text().splitlines() if "core file" in row]
            assert line.split()[4] == "0", line
        editor.type(f"x = {home.word} + ")
        editor.request()
        client.process.send_signal(signal_)
        assert client.process.wait(timeout=60) == -signal_
    assert home.word.encode() not in client.stderr
    assert home.holding(home.word) == []


def test_the_search_would_find_it(home: Home) -> None:
    (home.folder / "home" / "core").write_bytes(b"\x7fELF" + home.word.encode())
    (home.folder / "tmp" / "log").write_bytes(home.word.encode("utf-16-le"))
    assert {path.name for path in home.holding(home.word)} == {"core", "log"}
