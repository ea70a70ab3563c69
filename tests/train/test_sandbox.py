"""Guards the machine of whoever evaluates a model: generated programs run, fail, and leave nothing.

And the numbers: a program passes only when it ran to its end.
"""

import os
import socket
import tempfile
import time
from pathlib import Path

import pytest

from train.evaluation.programs.sandbox import Outcome, Verdict, isolation, run_program, why_not

pytestmark = pytest.mark.skipif(
    why_not("python") is not None, reason="generated programs do not run on this system"
)

_MEMORY_BYTES = 256 << 20


def run(source: str, *, timeout_s: float = 20.0, language: str = "python") -> Outcome:
    return run_program(source, timeout_s=timeout_s, memory_bytes=_MEMORY_BYTES, language=language)


@pytest.mark.parametrize(
    ("source", "verdict", "detail"),
    [
        ("x = 1\nassert x == 1", Verdict.PASSED, ""),
        ("assert 1 == 2, 'not equal'", Verdict.FAILED, "AssertionError: not equal"),
        ("def f(:", Verdict.FAILED, "SyntaxError"),
        ("import sys\nsys.exit(0)\nassert False", Verdict.ENDED_EARLY, ""),
        ("import os\nos._exit(0)\nassert False", Verdict.ENDED_EARLY, ""),
        ("raise SystemExit\nassert False", Verdict.ENDED_EARLY, ""),
        ("import sys\nprint('end-0123')\nsys.exit(0)", Verdict.ENDED_EARLY, ""),
        ("import ctypes\nctypes.string_at(0)", Verdict.FAILED, "exit status"),
        ("x = bytearray(2 << 30)", Verdict.OUT_OF_MEMORY, "256 MiB"),
        ("x = []\nwhile True:\n    x.append(bytearray(1 << 20))", Verdict.OUT_OF_MEMORY, ""),
        ("while True:\n    print('x' * 1000)", Verdict.TOO_MUCH_OUTPUT, ""),
        ("assert input() == ''", Verdict.FAILED, "EOFError"),
        ("import os\nassert not set(os.environ) & {'USER', 'SSH_AUTH_SOCK', 'SECRET'}",
         Verdict.PASSED, ""),
        ("open('own', 'w').write('x')\nassert open('own').read() == 'x'", Verdict.PASSED, ""),
        ("open('own', 'wb').write(bytes(64 << 20))", Verdict.FAILED, "OSError"),
        ("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
         Verdict.PASSED, ""),
    ],
)  # fmt: skip
def test_verdicts(
    source: str, verdict: Verdict, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    outcome = run(source)
    assert outcome.verdict is verdict, outcome
    assert detail in outcome.detail


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    pass",
        "import time\ntime.sleep(60)",
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(60)",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)",
    ],
)
def test_what_does_not_end_is_ended_and_gone(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started_s = time.monotonic()
    assert run(source, timeout_s=1.0).verdict is Verdict.TIMED_OUT
    assert time.monotonic() - started_s < 40.0, "it ended by itself"
    assert list(tmp_path.iterdir()) == []
    assert processes_that_name(tmp_path) == []


def processes_that_name(path: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(path) in line:
            found.append(line.decode())
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import os\nwhile True:\n    os.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import multiprocessing as m\np = m.Process(target=print)\np.start()\np.join()",
    ],
)
def test_new_processes_are_refused(source: str) -> None:
    if not isolation().has_filter:
        pytest.skip("this system has no filter of system calls")
    outcome = run(source)
    assert outcome.verdict is Verdict.FAILED
    assert "temporarily unavailable" in outcome.detail


@pytest.mark.parametrize("whom", ["0", "os.getppid()", "-1"])
def test_other_processes_get_no_signals(whom: str) -> None:
    if not isolation().has_filter:
        pytest.skip("this system has no filter of system calls")
    outcome = run(f"import os, signal\nos.kill({whom}, signal.SIGURG)")
    assert outcome.verdict is Verdict.FAILED and "PermissionError" in outcome.detail


def test_the_network_cannot_be_reached() -> None:
    if not isolation().is_network_cut:
        pytest.skip("this system cannot cut the network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        socket.create_connection(address, timeout=5).close()
        server.accept()[0].close()
        outcome = run(f"import socket\nsocket.create_connection({address!r}, timeout=5)")
        assert outcome.verdict is Verdict.FAILED, outcome
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_files_outside_the_folder_stay_as_they_are(tmp_path: Path) -> None:
    if not isolation().are_files_safe:
        pytest.skip("this system cannot make files read-only")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for action in (
        f"open({str(precious)!r}, 'w')",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"import os; os.remove({str(precious)!r})",
        f"import os; os.rename({str(precious)!r}, 'here')",
        f"import os; os.mkdir({str(tmp_path / 'folder')!r})",
    ):
        outcome = run(action)
        assert outcome.verdict is Verdict.FAILED, (action, outcome)
        assert "Error" in outcome.detail
    assert [p.name for p in tmp_path.iterdir()] == ["precious"] and precious.read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or not Path("/proc/self").exists(), reason="no /proc")
def test_other_processes_are_out_of_sight() -> None:
    if not isolation().has_namespaces:
        pytest.skip("this system does not allow namespaces")
    source = f"import os\nassert os.getpid() == 1 and not os.path.exists('/proc/{os.getpid()}')"
    assert run(source).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("language", "good", "bad", "early"),
    [
        ("js", "require('assert').equal(1, 1);", "throw new Error('no')", "process.exit(0)"),
        ("pl", "print 1;", "exit 3;", "exit 0;"),
        ("lua", "print(1)", "error('no')", "os.exit(0)"),
        ("rb", "puts 1", "raise 'no'", "exit 0"),
    ],
)
def test_other_languages(language: str, good: str, bad: str, early: str) -> None:
    if reason := why_not(language):
        pytest.skip(reason)
    verdicts = [run(source, language=language).verdict for source in (good, bad, early)]
    assert verdicts == [Verdict.PASSED, Verdict.FAILED, Verdict.ENDED_EARLY]


def test_a_language_that_is_not_there_says_why() -> None:
    assert why_not("python") is None
    assert why_not("cobol") == "Starling runs no programs of the language 'cobol'"
