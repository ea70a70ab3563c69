"""Guards how distributions come from the package index: the right bytes, whole, or one sentence.

The client is the real one; the index is a real HTTP server on this machine, which can be told to
lie, to stumble and to hang up. A failure would mean training on bytes that nobody pinned, or code
of a package being run while it is fetched.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from train.corpus.sources import package_index, pip_settings
from train.corpus.sources.package_index import fetch, resolve_sha256, sha256_of
from train.errors import SourceError

REPOSITORY = Path(__file__).resolve().parents[2]
WHEEL = "thing_more-1.0-py3-none-any.whl"
SDIST = "thing.more-1.0.tar.gz"


class Index:
    """A simple index with one project, `thing-more`, and its files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        """What the index says instead of the truth."""
        self.as_json = False
        self.n_overloads = 0
        """How many of the next requests are answered with 503."""
        self.n_hang_ups = 0
        """How many of the next downloads end in the middle."""
        self.requests: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path)
        filename = request.path.rpartition("/")[2]
        kind, body, status = "application/octet-stream", b"", 200
        if self.n_overloads:
            self.n_overloads -= 1
            status = 503
        elif request.path == "/simple/thing-more/":
            kind, body = self._page()
        elif request.path.startswith("/files/") and filename in self.files:
            body = self.files[filename]
        else:
            status = 404
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.n_hang_ups and filename:
            self.n_hang_ups -= 1
            body = body[: len(body) // 2]
            request.close_connection = True
        request.wfile.write(body)

    def _page(self) -> tuple[str, bytes]:
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        hashes |= self.hashes
        if self.as_json:
            files = [
                {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": value}}
                for name, value in hashes.items()
            ]
            page = {"meta": {"api-version": "1.0"}, "name": "thing-more", "files": files}
            return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        links = [
            f'<a href="../../files/{name}{"#sha256=" * bool(value)}{value}">{name}</a>'
            for name, value in hashes.items()
        ]
        return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index that pip is configured for, and an empty cache."""
    for name in os.environ:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    index = Index()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(package_index, "_BACKOFF_S", 0.001)
    index.files = {WHEEL: b"wheel" * 9_000, SDIST: b"sdist" * 9_000}
    yield index
    index.close()


def cached_names(tmp_path: Path) -> list[str]:
    cache = tmp_path / "cache"
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize("as_json", [False, True])
def test_wheel_and_sdist(index: Index, tmp_path: Path, as_json: bool) -> None:
    index.as_json = as_json
    for distribution, name in (("wheel", WHEEL), ("sdist", SDIST)):
        path = fetch("Thing.More==1", distribution=distribution)
        assert path == tmp_path / "cache" / "distributions" / "thing-more-1" / name
        assert path.read_bytes() == index.files[name]
        assert resolve_sha256("thing_more==1.0.0", distribution) == sha256_of(path)
    assert len(cached_names(tmp_path)) == 2, "no temporary files are left"


def test_cache_is_used_without_the_index_and_verified(index: Index, tmp_path: Path) -> None:
    path = fetch("thing-more==1.0", distribution="sdist")
    right = sha256_of(path)
    index.requests.clear()
    assert fetch("thing-more==1.0", distribution="sdist") == path
    assert fetch("thing-more==1.0", distribution="sdist", sha256=right.upper()) == path
    path.write_bytes(b"altered")
    with pytest.raises(SourceError, match="delete it"):
        fetch("thing-more==1.0", distribution="sdist", sha256=right)
    assert not index.requests
    path.unlink()
    assert sha256_of(fetch("thing-more==1.0", distribution="sdist", sha256=right)) == right


def test_hash_of_the_recipe_decides(index: Index, tmp_path: Path) -> None:
    """Also between several wheels, and whatever the index claims."""
    other = "thing_more-1.0-cp311-cp311-win_amd64.whl"
    index.files[other] = b"compiled" * 99
    assert fetch("thing-more==1.0", distribution="wheel").name == WHEEL
    (tmp_path / "cache" / "distributions" / "thing-more-1.0" / WHEEL).unlink()
    pinned = hashlib.sha256(index.files[other]).hexdigest()
    assert fetch("thing-more==1.0", distribution="wheel", sha256=pinned).name == other
    with pytest.raises(SourceError, match="lock the recipe again"):
        fetch("thing-more==1.0", distribution="sdist", sha256="0" * 64)
    index.hashes[SDIST] = "0" * 64
    with pytest.raises(SourceError, match="do not trust"):
        fetch("thing-more==1.0", distribution="sdist", sha256="0" * 64)
    assert not [name for name in cached_names(tmp_path) if not name.endswith(other)]


def test_choice_does_not_depend_on_the_machine(index: Index) -> None:
    del index.files[WHEEL]
    names = [f"thing_more-1.0-cp39-cp39-{tag}.whl" for tag in ("win32", "macosx_11_0_arm64")]
    index.files |= dict.fromkeys(names, b"x")
    assert fetch("thing-more==1.0", distribution="wheel").name == names[1]


def test_wrong_hash_of_the_index(index: Index, tmp_path: Path) -> None:
    index.hashes[WHEEL] = "1" * 64
    with pytest.raises(SourceError, match="do not trust"):
        fetch("thing-more==1.0", distribution="wheel")
    assert not cached_names(tmp_path)


def test_index_without_hashes(index: Index, tmp_path: Path) -> None:
    index.hashes[WHEEL] = ""
    right = hashlib.sha256(index.files[WHEEL]).hexdigest()
    with pytest.raises(SourceError, match="has the sha256"):
        fetch("thing-more==1.0", distribution="wheel", sha256="2" * 64)
    assert not cached_names(tmp_path)
    assert resolve_sha256("thing-more==1.0", "wheel") == right


def test_what_the_index_lacks(index: Index, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no version 2.0 .* the newest is 1.0: correct"):
        fetch("thing-more==2.0", distribution="wheel")
    with pytest.raises(SourceError, match="does not know other-thing"):
        fetch("other_thing==1", distribution="wheel")
    del index.files[SDIST]
    with pytest.raises(SourceError, match="no sdist of thing-more==1.0: ask for its wheel"):
        fetch("thing-more==1.0", distribution="sdist")
    assert not cached_names(tmp_path)


@pytest.mark.parametrize("pin", ["thing", "thing==", "../x==1", "thing==../1", "a b==1", "x>=1"])
def test_pins_that_are_none(index: Index, pin: str) -> None:
    with pytest.raises(SourceError, match="is not name==version: correct the recipe"):
        fetch(pin, distribution="wheel")
    assert not index.requests


def test_stumbling_index_is_asked_again(index: Index, tmp_path: Path) -> None:
    index.n_overloads = 2
    index.n_hang_ups = 1
    with pytest.raises(SourceError, match="thing-more==1.0 cannot be fetched"):
        fetch("thing-more==1.0", distribution="wheel")
    assert not cached_names(tmp_path), "half a download is not kept"
    index.n_overloads, index.n_hang_ups = 1, 1
    path = fetch("thing-more==1.0", distribution="wheel")
    assert path.read_bytes() == index.files[WHEEL]


def test_overload_is_not_taken_for_a_missing_package(index: Index) -> None:
    index.n_overloads = 99
    with pytest.raises(SourceError, match="503"):
        fetch("thing-more==1.0", distribution="wheel")


def test_server_is_gone(index: Index, tmp_path: Path) -> None:
    index.close()
    with pytest.raises(SourceError, match="check the network") as raised:
        fetch("thing-more==1.0", distribution="wheel")
    assert "\n" not in str(raised.value)
    assert not cached_names(tmp_path)


def test_page_that_is_no_page(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "application/vnd.pypi.simple.v1+json"
    monkeypatch.setattr(index, "_page", lambda: (kind, b"{'not json"))
    with pytest.raises(SourceError, match="no usable page"):
        fetch("thing-more==1.0", distribution="wheel")


def test_endless_download(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "MAX_DISTRIBUTION_BYTES", 40_000)
    with pytest.raises(SourceError, match="larger than 40000 bytes: leave"):
        fetch("thing-more==1.0", distribution="wheel")
    assert not cached_names(tmp_path)


def test_cache_that_cannot_be_written(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "file"))
    with pytest.raises(SourceError, match="set STARLING_CACHE"):
        fetch("thing-more==1.0", distribution="wheel")


def test_many_at_once(index: Index, tmp_path: Path) -> None:
    """Threads of two processes fetch the same two files into one cache."""
    command = (
        "import sys; from train.corpus.sources.package_index import fetch\n"
        "for kind in ('wheel', 'sdist'): print(fetch('thing-more==1.0', distribution=kind))"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    kinds = ["wheel", "sdist"] * 6
    with ThreadPoolExecutor(6) as threads:
        paths = list(threads.map(lambda k: fetch("thing-more==1.0", distribution=k), kinds))
    output, _ = other.communicate()
    assert other.returncode == 0 and set(output.split()) == {str(path) for path in paths}
    assert {path.name: path.read_bytes() for path in paths} == index.files
    assert len(cached_names(tmp_path)) == 2


def test_fetching_an_sdist_runs_none_of_its_code(index: Index, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("setup.py", "backend.py"):
            code = f"open({str(marker)!r}, 'w')".encode()
            info = tarfile.TarInfo(f"thing.more-1.0/{name}")
            info.size = len(code)
            archive.addfile(info, io.BytesIO(code))
    index.files[SDIST] = packed.getvalue()
    fetch("thing-more==1.0", distribution="sdist")
    resolve_sha256("thing-more==1.0", "sdist")
    assert cached_names(tmp_path) == [f"distributions/thing-more-1.0/{SDIST}"]
    assert not marker.exists()


def test_further_places_of_pip(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extra indexes and folders of files; one that lacks the package does no harm."""
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{(tmp_path / 'none').as_uri()} {index.url}")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "local_thing-3.zip").write_bytes(b"local")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'files'} {tmp_path / 'absent'}")
    assert fetch("thing-more==1.0", distribution="wheel").name == WHEEL
    assert fetch("local-thing==3", distribution="sdist").read_bytes() == b"local"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "second"))
    index.requests.clear()
    assert fetch("local-thing==3", distribution="sdist").read_bytes() == b"local"
    assert not index.requests
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(SourceError, match="use no index: allow one"):
        fetch("thing-more==1.0", distribution="wheel")


def test_settings_of_pip(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the command's section, which wins over the global one."""
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = http://one.invalid/simple\ntimeout = 7\ncert = none.pem\n"
        "trusted-host = a.invalid\n    b.invalid\n"
        "[download]\nindex-url = http://two.invalid/simple\n[install]\ntimeout = 9\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert pip_settings.read_pip_settings().index_urls[0] == index.url
    monkeypatch.delenv("PIP_INDEX_URL")
    settings = pip_settings.read_pip_settings()
    assert settings.index_urls[0] == "http://two.invalid/simple"
    assert (settings.has_index, settings.no_index, settings.timeout_s) == (True, False, 7.0)
    assert settings.trusted_hosts == ("a.invalid", "b.invalid")
    with pytest.raises(SourceError, match="certificates none.pem cannot be read"):
        fetch("thing-more==1.0", distribution="wheel")
    config.write_text("[global\n")
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    with pytest.raises(SourceError, match="cannot read its configuration"):
        pip_settings.read_pip_settings()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert not pip_settings.read_pip_settings().has_index
