"""Guards that trouble around the server stays around it: a full or read-only disk, little memory, a
clock that jumps, names that are not ASCII, another server beside it. A failure is a user without
suggestions, a traceback, or a record of sources that cannot be read any more.
"""

import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import starling
from attribution.accepted_record import entries
from tests import working_day
from tests.confined.__main__ import EXIT_CANNOT
from tests.confined.preloaded import ShiftedClock, shifted_clock
from tests.editor import Editor
from tests.lsp_client import REPOSITORY, SERVE, LspClient

CONFINED = (sys.executable, "-m", "tests.confined")
AWKWARD = "Größe & Maß/日本 語 \N{PINE DECORATION}"
DAY_S = 86_400


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """A folder whose name has spaces, an ampersand, umlauts, and letters of four bytes."""
    folder = tmp_path / AWKWARD
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> ShiftedClock:
    return shifted_clock(tmp_path_factory.mktemp("clock"))


def home_at(folder: Path) -> dict[str, str]:
    """An environment whose every folder is below one; in the plainest of locales."""
    folder.mkdir(exist_ok=True)
    places = {f"XDG_{name}_HOME": str(folder) for name in ("CACHE", "CONFIG", "DATA", "STATE")}
    return {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C", **places}


def record_of(home: Path) -> list[dict[str, object]]:
    return list(entries(home / "starling" / "accepted.jsonl"))


def test_awkward_names_and_a_clock_that_jumps(
    awkward: Path, tiny_gguf: Path, clock: ShiftedClock
) -> None:
    """Bundle, workspace and home; the clock goes back ten years and far ahead, like after a nap."""
    home, workspace = awkward / "home", awkward / "work space"
    workspace.mkdir()
    bundle = awkward / "mein Modell ü.gguf"
    bundle.symlink_to(tiny_gguf)
    environment = home_at(home) | clock.environment
    with LspClient(bundle=bundle, environment=environment) as client:
        working_day.begin(client, workspace, unloadAfterMinutes=30)
        for shift_s, word in ((0, "now"), (-3650 * DAY_S, "past"), (400 * DAY_S, "future")):
            clock.shift(shift_s)
            # In it a pause of a minute begins and is ended.
            editor = working_day.live(client, workspace, word)
            assert editor.ask(invoked=True), "it speaks at once"
            assert client.execute("starling.status")["reason"] == ""
            editor.close()
        states = [
            message["params"]["state"]
            for message in client.messages
            if message.get("method") == "starling/status"
        ]
        assert states.count("loading") == 1, "the model was not unloaded by the clock"
        assert client.shut_down() == 0
    assert client.stderr == b""
    years = [str(entry["time"])[:4] for entry in record_of(home)]
    assert len(set(years)) == 3, "the shim turned the clock"
    assert {entry["uri"] for entry in record_of(home)} == {(workspace / "day.py").as_uri()}


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_home_that_cannot_be_written(tmp_path: Path, tiny_gguf: Path, kind: str) -> None:
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    workspace.mkdir()
    environment = home_at(home)
    poor = ["--read-only", str(home)]
    command = [*CONFINED, *poor, *SERVE]
    if kind == "full":
        # A disk of one page, which the shell fills before the server begins.
        fill = ["sh", "-c", 'head -c 100000 /dev/zero > "$HOME/full" 2>/dev/null; exec "$@"', "sh"]
        command = [*CONFINED, "--disk", f"{home}=4", *fill, *SERVE]
    if subprocess.run([*command[:5], "true"], capture_output=True).returncode == EXIT_CANNOT:
        pytest.skip("NOT TESTED: this system does not let users mount")
    with LspClient(command, bundle=tiny_gguf, environment=environment) as client:
        working_day.begin(client, workspace)
        reasons = []
        editor = working_day.live(client, workspace, "wagon")
        for message in client.messages:
            if message.get("method") == "starling/status":
                reasons.append(message["params"]["reason"])
        assert any("cannot be written" in reason for reason in reasons), reasons
        assert editor.ask(invoked=True), "suggestions go on"
        assert client.shut_down() == 0
    assert client.stderr == b"" and record_of(home) == []


def test_commands_in_an_awkward_folder(awkward: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, index = awkward / "code", awkward / "an index"
    code.mkdir()
    source = code / "größe 1.py"
    source.write_bytes((REPOSITORY / "examples" / "inventory.py").read_bytes())

    def said(*arguments: str | Path) -> str:
        assert starling.main([*map(str, arguments)]) in (0, 1)
        found = capsys.readouterr()
        assert found.err == ""
        return found.out

    said("attribute", "build", code, "--name", "own", "--licence", "MIT", "--out", index)
    assert f"{source}:1-" in said("attribute", "check", code, "--index", index)
    assert "1 file(s)" in said("attribute", "who", source, "--index", index)
    assert "class Inventory" in said("explain", source, "--facts")


def test_two_servers_share_a_home(tmp_path: Path, tiny_gguf: Path) -> None:
    """And one is killed at a random moment of its work: the other does not notice."""
    home = tmp_path / "home"
    environment = home_at(home)
    workspaces = [tmp_path / name for name in "ab"]

    def run(workspace: Path) -> int:
        workspace.mkdir()
        with LspClient(bundle=tiny_gguf, environment=environment) as client:
            working_day.begin(client, workspace)
            for round_idx in range(2):
                working_day.live(client, workspace, f"wagon{round_idx}").close()
            status = client.shut_down()
            assert client.stderr == b""
            return status

    def run_and_kill(workspace: Path) -> int:
        workspace.mkdir()
        rng = random.Random(os.urandom(8))
        with LspClient(bundle=tiny_gguf, environment=environment) as client:
            working_day.begin(client, workspace)
            editor = Editor(client)
            editor.open((workspace / "day.py").as_uri(), "x = |")
            for _ in range(rng.randrange(1, 30)):
                editor.type("value + ")
                editor.request()
            client.process.send_signal(signal.SIGKILL)
            return client.process.wait(60)

    with ThreadPoolExecutor() as pool:
        jobs = [(run, workspaces[0]), (run_and_kill, workspaces[1]), (run, tmp_path / "c")]
        statuses = list(pool.map(lambda job: job[0](job[1]), jobs))
    assert statuses == [0, -signal.SIGKILL, 0]
    lines = (home / "starling" / "accepted.jsonl").read_text("utf-8").splitlines()
    uris = [json.loads(line)["uri"] for line in lines]
    assert {Path(uri).parent.name for uri in uris} == {"a", "c"}
    assert len(uris) >= 4


def test_a_server_after_a_kill_answers_as_before(tmp_path: Path, tiny_gguf: Path) -> None:
    """As an editor does: it starts another one and tells it of the open files, unsaved text too."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    environment = home_at(tmp_path / "home")
    answers = []
    for n_keys in (None, 7):
        with LspClient(bundle=tiny_gguf, environment=environment) as client:
            working_day.begin(client, workspace)
            editor = Editor(client)
            editor.open((workspace / "day.py").as_uri(), "import os\n\nnames = |\n")
            answers.append([item["insertText"] for item in editor.ask(invoked=True)])
            editor.type("sorted("[:n_keys])
            editor.request()
            client.process.send_signal(signal.SIGKILL)
    assert answers[0] == answers[1] != []


@pytest.mark.parametrize("memory_mb", [120, 400])
@pytest.mark.parametrize(
    "arguments",
    [
        ("complete", "examples/inventory.py:20"),
        ("quantize", "examples", "--out", "/nowhere/bundle"),
        ("train", "tokenizer", "--recipe", "tiny", "--out", "/nowhere/run"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_little_memory_is_one_sentence(memory_mb: int, arguments: tuple[str, ...]) -> None:
    command = [*CONFINED, "--memory-mb", str(memory_mb), sys.executable, "starling.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode in (1, 2), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(("starling: ", "OpenBLAS error: Memory")), sentence


def test_a_server_with_little_memory_says_so_in_its_status() -> None:
    command = [*CONFINED, "--memory-mb", "500", *SERVE]
    with LspClient(command) as client:
        client.initialize()
        status = client.wait_status(lambda status: status["state"] == "error")
        assert "500 MB of memory (ulimit -v)" in status["reason"]
        assert client.shut_down() == 0


def test_kernels_do_without_a_disk(tmp_path: Path) -> None:
    """numba keeps machine code on disk; where it is full, or a file is torn, it compiles anew."""
    program = (
        "import numpy; from attribution.kernel import kernel as compiled_1; "
        "from runtime.kernels import compiled as compiled_2; from tests.faults import kernel; "
        "print([compiled(kernel.total)(numpy.arange(5)) for compiled in (compiled_1, compiled_2)])"
    )
    cache = tmp_path / "cache"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}

    def run(*before: str) -> str:
        command = [*before, sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        assert done.returncode in (0, EXIT_CANNOT), done.stderr
        return done.stdout

    cache.mkdir()
    assert run(*CONFINED, "--disk", f"{cache}=8") in ("[10, 10]\n", "")
    assert run() == "[10, 10]\n"
    kept = [path for path in cache.rglob("*total*.nb?") if path.is_file()]
    assert len(kept) >= 2
    sizes = {path: path.stat().st_size for path in kept}
    for path in kept:
        os.truncate(path, 20)
    assert run() == "[10, 10]\n"
    assert {path: path.stat().st_size for path in kept} == sizes, "and it is kept again"
