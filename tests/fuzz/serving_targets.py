"""Parsers of what a model, an index, an editor or a browser hands to the server."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from attribution.errors import (
    AttributionError,
    DiffError,
)
from tests.fuzz.gguf_parts import ARRAY, STRING, U32, Parts, Tensor, string, strings, u32
from tests.fuzz.index_targets import documents
from tests.fuzz.mutation import any_bytes, any_json, any_json_lines
from tests.fuzz.target import Target


def _spec_json() -> Target:
    from runtime.bundle import default_bundle_directory
    from runtime.errors import BundleError
    from runtime.spec import ModelSpec

    return Target(
        parse=lambda data, _: ModelSpec.from_json(data.decode("utf-8", "surrogatepass")),
        allowed=(BundleError, UnicodeDecodeError),
        seeds=((default_bundle_directory() / "spec.json").read_bytes(),),
        mutate=any_json,
    )


def _gguf() -> Target:
    from runtime.errors import BundleError
    from runtime.gguf_check import read_for_llama
    from runtime.spec import ModelSpec

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "model.gguf"
        path.write_bytes(data)
        header = read_for_llama(path)
        ModelSpec.from_gguf_kv(header.metadata)

    def mutate(data: bytes, choose: random.Random) -> bytes:
        from tests.fuzz.models import mutated

        if choose.random() < 0.5:
            return any_bytes(data, choose)
        try:
            parts, _ = mutated(_small_gguf(), choose)
        except (IndexError, ValueError, struct.error):
            return any_bytes(data, choose)
        return parts.head() + parts.data[: 1 << 12]

    small = _small_gguf()
    return Target(
        parse=parse, allowed=(BundleError,), seeds=(small.head() + small.data,), mutate=mutate
    )


@cache
def _small_gguf() -> Parts:
    """A sound header over weights of a few hundred bytes."""
    pairs = [
        (b"general.architecture", STRING, string(b"qwen3")),
        (b"qwen3.context_length", U32, u32(64)),
        (b"qwen3.embedding_length", U32, u32(8)),
        (b"qwen3.attention.head_count", U32, u32(2)),
        (b"qwen3.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-6)),
        (b"tokenizer.ggml.model", STRING, string(b"gpt2")),
        (b"tokenizer.ggml.tokens", ARRAY, strings([b"a", b"b", b"c"])),
        (b"tokenizer.ggml.scores", ARRAY, struct.pack("<IQfff", 6, 3, 0, 0, 0)),
        (b"tokenizer.chat_template", STRING, string(b"{{ messages }}")),
    ]
    tensors = [
        Tensor(b"token_embd.weight", [8, 3], 0, 0),
        Tensor(b"output_norm.weight", [8], 0, 96),
    ]
    return Parts(pairs, tensors, bytes(128))


def _notices() -> Target:
    from attribution.licence_texts import NOTICES_FILE, read_licence_texts

    def parse(data: bytes, folder: Path) -> None:
        (folder / NOTICES_FILE).write_bytes(data)
        read_licence_texts(folder)

    rule = b"-" * 80 + b"\n"
    seed = b"pypi:a 1: MIT\npypi:b 2: MIT\n\n" + rule + b"pypi:a 1 (LICENSE)\n\nMIT\n" + rule
    return Target(parse=parse, allowed=(), seeds=(seed + b"pypi:b 2 (L)\n\n" + rule + b"MIT\n",))


def _diff() -> Target:
    from attribution.diff import additions

    seed = (
        b'diff --git a/a.py b/a.py\n--- a/a.py\t2024\n+++ "b/\\303\\244.py"\n@@ -1,2 +1,3 @@ def\n'
        b" a\n-b\n+c\n+d\n\\ No newline at end of file\n@@ -9 +10 @@\n-x\n+y\n"
    )
    return Target(
        parse=lambda data, _: additions(data.decode("utf-8", "surrogateescape")),
        allowed=(DiffError,),
        seeds=(seed,),
    )


def _names() -> Target:
    from attribution.licences import choose as choose_licence
    from attribution.licences import is_expression, is_permissive
    from attribution.names import rows_named
    from attribution.notice import duties

    rows = [row for row, _ in documents()]

    def parse(data: bytes, _: Path) -> None:
        text = data.decode("utf-8", "replace")
        is_expression(text)
        is_permissive(text)
        duties(text)
        rows_named(rows, text)  # type: ignore[arg-type]
        if is_expression(text):
            choose_licence(text)

    seeds = (b"(MIT OR GPL-3.0-only WITH Classpath-exception-2.0) AND Apache-2.0", b"pypi:p1/a.py",
             b"swh:1:cnt:" + b"0" * 40 + b";origin=https://x/y;lines=1-9")  # fmt: skip
    return Target(parse=parse, allowed=(AttributionError,), seeds=seeds)


def _package_list() -> Target:
    from attribution.errors import CodeSourceError
    from attribution.sources.package_list import read_package_list

    def parse(data: bytes, folder: Path) -> None:
        suffix = (".toml", ".json", ".txt")[data[0] % 3 if data else 0]
        path = folder / f"packages{suffix}"
        path.write_bytes(data[1:])
        read_package_list(path)

    entry = {"name": "click", "version": "8", "licence": "MIT", "path": "."}
    toml = "[[package]]\n" + "".join(f'{key} = "{value}"\n' for key, value in entry.items())
    seeds = (b"\0" + toml.encode(), b"\1" + json.dumps([entry]).encode(), b"\2click 8 . MIT\n")
    return Target(parse=parse, allowed=(CodeSourceError,), seeds=seeds, mutate=any_bytes)


def _gitignore() -> Target:
    from attribution.sources.gitignore import IGNORE_FILE, is_ignored, read_rules

    paths = ("a", "a/b.py", "x" * 40 + ".py", "a" * 30 + "/" + "b" * 30 + "/c", "[", "**")

    def parse(data: bytes, folder: Path) -> None:
        (folder / IGNORE_FILE).write_bytes(data)
        rules = read_rules(folder)
        for path in paths:
            is_ignored(rules, folder / path, is_folder=False)

    seed = b"*.py\n!keep/\n/a/**/b\n**/x\n[a-z]*?\\ \n[[:alpha:]!x]y\n*a*a*a*b\n"
    return Target(parse=parse, allowed=(), seeds=(seed,))


def _accepted_record() -> Target:
    from attribution.accepted_record import entries

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "accepted.jsonl"
        path.write_bytes(data)
        list(entries(path))

    return Target(
        parse=parse,
        allowed=(),
        seeds=(b'{"time": "2026-01-01T00:00:00Z", "uri": "file:///a", "sources": []}\n' * 3,),
        mutate=any_json_lines,
    )


def _framing() -> Target:
    from lsp_server.errors import FramingError
    from lsp_server.framing import Framer

    def parse(data: bytes, _: Path) -> None:
        framer, at, step = Framer(), 0, 1 + len(data) % 17
        while at < len(data):
            list(framer.feed(data[at : at + step]))
            at += step

    seed = b"Content-Length: 2\r\n\r\n{}Content-Type: x\r\ncontent-length: 4\r\n\r\nnull"
    return Target(parse=parse, allowed=(FramingError,), seeds=(seed,))


def _greeting() -> Target:
    from lsp_server.greeting import _answer

    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
               "params": {"processId": 1, "rootUri": None, "initializationOptions": {},
                          "capabilities": {"general": {"positionEncodings": ["utf-8"]},
                                           "textDocument": {"completion": {}}}}}  # fmt: skip
    return Target(
        parse=lambda data, _: _answer(data),
        allowed=(),
        seeds=(json.dumps(message).encode(),),
        mutate=any_json,
    )


def _settings() -> Target:
    from lsp_server.settings import all_facts
    from lsp_server.settings import parse as parse_settings

    def parse(data: bytes, _: Path) -> None:
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return  # `protocol` reads the JSON.
        parse_settings(content)

    defaults = {fact.key: fact.schema["default"] for fact in all_facts()}
    return Target(
        parse=parse,
        allowed=(),
        seeds=(json.dumps({"starling": defaults}).encode(), json.dumps(defaults).encode()),
        mutate=any_json,
    )


def _web_requests() -> Target:
    from websockets.datastructures import Headers
    from websockets.http11 import Request

    from lsp_server.web.gate import Gate
    from lsp_server.web.listener import _admit

    gate = Gate(port=80)

    class Site:
        def answer(self, name: str) -> None:
            raise AssertionError("a stranger was let in")

    def parse(data: bytes, _: Path) -> None:
        first, *lines = data.decode("latin-1").split("\n")
        headers = Headers()
        for line in lines:
            name, _, value = line.partition(": ")
            if name.isprintable() and value.isprintable():  # Others websockets has refused.
                headers[name] = value
        for site in (None, Site()):
            response = _admit(Request(first, headers, "GET"), gate, site)  # type: ignore[arg-type]
            assert response is not None, "a stranger was let in"

    seed = b"/lsp?token=abc&x=%ff\nHost: 127.0.0.1:80\nOrigin: http://127.0.0.1:80\n"
    cookie = b"Cookie: a=b; starling_session=zzz\nAuthorization: Bearer y\n"
    return Target(parse=parse, allowed=(), seeds=(seed, seed + cookie))


def _editor_changes() -> Target:
    """A text, and a change from one point to another; neither need be in it."""
    from lsp_server.documents import Documents, Point, PositionEncoding

    def parse(data: bytes, _: Path) -> None:
        encoding = list(PositionEncoding)[data[0] % 3 if data else 0]
        documents = Documents(encoding)
        text = data[9:].decode("utf-8", "surrogatepass")
        document = documents.open(uri="file:///a", language_id="python", version=1, text=text)
        numbers = [*struct.unpack("<4H", data[1:9].ljust(8, b"\0"))]
        start, end = Point(*numbers[:2]), Point(*numbers[2:])
        document.cut(start)
        document.replace(start, end, text[:50], version=2)
        document.mark(start, text[:5])
        document.replace(end, start, "", version=3)
        document.word_before(end)

    seed = "a\r\nb😀c\n\u2028d\n\ud800x".encode("utf-8", "surrogatepass")
    return Target(
        parse=parse,
        allowed=(UnicodeDecodeError,),
        seeds=(bytes([1, 0, 0, 0, 0, 1, 0, 2, 0]) + seed,),
    )


SERVING: Mapping[str, Callable[[], Target]] = {
    "spec": _spec_json, "gguf": _gguf, "notices": _notices,
    "diff": _diff, "names": _names, "package_list": _package_list, "gitignore": _gitignore,
    "accepted_record": _accepted_record, "framing": _framing, "greeting": _greeting,
    "settings": _settings, "web_requests": _web_requests, "editor_changes": _editor_changes,
}  # fmt: skip
