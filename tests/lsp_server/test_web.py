"""Guards the local web server: what it shows to whom.

If it breaks, any page in the user's browser, or any program on the machine, could read along and
use the language server; or the page does not come up at all. Real sockets throughout.
"""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lsp_server.errors import WebServerError
from lsp_server.web import command as web_command
from lsp_server.web import playground
from tests.lsp_client import REPOSITORY

STARLING = (sys.executable, str(REPOSITORY / "starling.py"))
PAGE = {"index.html": "<p>page</p>", "main.js": "'main'", "main.css": "p {}"}


class Running:
    """A command that printed an address with a port and a token."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self.process.stdout
        found = re.search(r":(\d+)/\S*\?token=(\S+)", self.process.stdout.readline())
        assert found, "an address is printed"
        self.port, self.token = int(found[1]), found[2]

    def get(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, Message, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def connect(self, path: str, **headers: str) -> ClientConnection:
        address = f"ws://127.0.0.1:{self.port}{path}"
        return connect(address, additional_headers=headers, proxy=None)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page in the place of the built one, which a machine without Node does not have."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in PAGE.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def site(page_folder: Path, tiny_gguf: Path) -> Iterator[Running]:
    document = page_folder / "shown.py"
    document.write_text("x = 1\n")
    source = (
        "from pathlib import Path; import starling; from lsp_server.web import playground; "
        f"playground.PAGE_FOLDER = Path({str(page_folder)!r}); "
        f"starling.main(['playground', {str(document)!r}, '--no-browser', '--bundle', "
        f"{str(tiny_gguf)!r}])"
    )
    running = Running([sys.executable, "-c", source])
    yield running
    assert running.end() == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the browser that opened the printed address holds."""

    cookie: str
    folder: str


@pytest.fixture(scope="module")
def opened(site: Running) -> Opened:
    status, headers, _ = site.get(f"/?token={site.token}")
    folder = headers["Location"]
    assert status == 303 and site.token not in folder, "the token leaves the address bar"
    assert re.fullmatch(r"/[\w-]{32}/", folder), "no other server can ask for the cookie"
    cookie, *attributes = headers["Set-Cookie"].split("; ")
    assert attributes == ["HttpOnly", "SameSite=Strict", f"Path={folder}"]
    return Opened(cookie=cookie, folder=folder)


def test_the_page_and_what_it_asks_for(site: Running, opened: Opened) -> None:
    # Every server on this host may set cookies for all of its ports, in any form.
    cookie = f'theme={{"dark": 1}}; a[]b=c; starling_session=another; {opened.cookie}'
    folder = opened.folder
    for name, text in (("", "<p>page</p>"), ("main.js", "'main'"), ("main.css", "p {}")):
        status, headers, body = site.get(folder + name, Cookie=cookie)
        assert (status, body.decode()) == (200, text)
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    document = json.loads(site.get(f"{folder}document", Cookie=cookie)[2])
    assert document["text"] == "x = 1\n" and document["uri"].endswith("/shown.py")
    assert json.loads(site.get(f"{folder}model-card", Cookie=cookie)[2]) is None


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/", {"Cookie": "COOKIE"}, 403),
        ("/document", {"Cookie": "COOKIE"}, 403),
        ("FOLDER", {}, 403),
        ("FOLDERdocument", {}, 403),
        ("FOLDERlsp", {}, 403),
        ("FOLDER", {"Cookie": "starling_session=guess"}, 403),
        ("FOLDER", {"Cookie": "a[]b=c; starling_session"}, 403),
        ("/?token=guess", {}, 403),
        ("/?token=guess", {"Cookie": "COOKIE"}, 403),
        ("/?token=%ff%00", {}, 403),
        ("//[", {"Cookie": "COOKIE"}, 403),
        ("FOLDER", {"Host": "attacker.example", "Cookie": "COOKIE"}, 403),
        ("FOLDER", {"Host": "127.0.0.1", "Cookie": "COOKIE"}, 403),
        ("FOLDER", {"Origin": "http://attacker.example", "Cookie": "COOKIE"}, 403),
        ("FOLDER", {"Origin": "http://127.0.0.1:1", "Cookie": "COOKIE"}, 403),
        ("FOLDER", {"Origin": "null", "Cookie": "COOKIE"}, 403),
        ("FOLDERpage/", {"Cookie": "COOKIE"}, 404),
        ("FOLDER../gate.py", {"Cookie": "COOKIE"}, 404),
        ("FOLDER%2e%2e/gate.py", {"Cookie": "COOKIE"}, 404),
        ("FOLDER/etc/passwd", {"Cookie": "COOKIE"}, 404),
        ("FOLDERlsp", {"Cookie": "COOKIE"}, 426),
    ],
)
def test_nobody_else_is_answered(
    site: Running, opened: Opened, path: str, headers: dict[str, str], status: int
) -> None:
    real = {name: value.replace("COOKIE", opened.cookie) for name, value in headers.items()}
    answered, _, body = site.get(path.replace("FOLDER", opened.folder), **real)
    assert answered == status and b"x = 1" not in body


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_what_is_not_a_get_is_refused(site: Running, opened: Opened, method: str) -> None:
    path = f"{opened.folder}document"
    status, headers, body = site.get(path, method=method, Cookie=opened.cookie)
    assert (status, body) == (405, b"")
    assert "Access-Control-Allow-Origin" not in headers


def test_the_token_opens_the_page_once(site: Running, opened: Opened) -> None:
    assert site.get(f"/?token={site.token}")[0] == 403


def test_the_socket_is_for_the_page(site: Running, opened: Opened) -> None:
    own = f"http://127.0.0.1:{site.port}"
    path = f"{opened.folder}lsp"
    refused = (
        (path, {}),
        (f"{path}?token={site.token}", {}),
        (f"/lsp?token={site.token}", {}),
        ("/lsp", {"Cookie": opened.cookie, "Origin": own}),
        (path, {"Cookie": opened.cookie, "Origin": "http://attacker.example"}),
        (path, {"Origin": own}),
    )
    for refused_path, headers in refused:
        with pytest.raises(InvalidStatus) as error:
            site.connect(refused_path, **headers)
        assert error.value.response.status_code == 403
    with pytest.raises(InvalidStatus):  # The page is no socket.
        site.connect(opened.folder, Cookie=opened.cookie, Origin=own)
    with site.connect(path, Cookie=opened.cookie, Origin=own) as socket_:
        assert answer_to_initialize(socket_)["serverInfo"]["name"] == "starling"


def test_it_listens_on_loopback_only(site: Running) -> None:
    """Every other address of the machine refuses."""
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in own - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, site.port), timeout=5)
    with Path("/proc/net/tcp").open() as table:
        port = f":{site.port:04X} "
        assert all("0100007F" + port in line for line in table if port in line.split(" 00")[0])


def test_serve_ws_speaks_to_whoever_has_the_token(tiny_gguf: Path) -> None:
    running = Running([*STARLING, "serve", "--ws", "0", "--bundle", str(tiny_gguf)])
    try:
        with pytest.raises(InvalidStatus):
            running.connect("/lsp")
        assert running.get("/")[0] == 404
        with running.connect("/lsp", Authorization=f"Bearer {running.token}") as socket_:
            assert answer_to_initialize(socket_)["serverInfo"]["name"] == "starling"
        # The server's end is told to the client, and the next one gets a new server.
        with running.connect(f"/lsp?token={running.token}") as socket_:
            answer_to_initialize(socket_)
            send(socket_, {"method": "exit"})
            with pytest.raises(ConnectionClosed):
                while True:
                    socket_.recv(30)
    finally:
        assert running.end() == 0


def test_a_taken_port_and_a_missing_page_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Running, page_folder: Path
) -> None:
    monkeypatch.setattr(playground, "PAGE_FOLDER", page_folder)
    options = ["--port", str(site.port), "--no-browser"]
    result = CliRunner().invoke(web_command.playground, options, obj={"bundle_directory": tmp_path})
    assert isinstance(result.exception, WebServerError)
    assert f"port {site.port} is taken" in str(result.exception)
    with pytest.raises(WebServerError, match="check the path"):
        playground.Playground(document=tmp_path / "none.py", model_card=None)
    monkeypatch.setattr(playground, "PAGE_FOLDER", tmp_path)
    with pytest.raises(WebServerError, match="make page"):
        playground.Playground(document=None, model_card=None)


def send(socket_: ClientConnection, message: dict[str, object]) -> None:
    socket_.send(json.dumps({"jsonrpc": "2.0", **message}))


def answer_to_initialize(socket_: ClientConnection) -> dict[str, dict[str, str]]:
    send(socket_, {"id": 1, "method": "initialize",
                   "params": {"processId": None, "rootUri": None, "capabilities": {}}})  # fmt: skip
    while True:
        message = json.loads(socket_.recv(60))
        if message.get("id") == 1:
            return message["result"]
