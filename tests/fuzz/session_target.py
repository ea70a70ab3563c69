"""A whole session as the fuzzer sees it: messages of a client, a line each, to a real server in
this process. It has no model, so that no input waits for one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import any_json_lines
from tests.fuzz.target import Target

_URI = "file:///nowhere/a.py"
_AT = {"textDocument": {"uri": _URI}, "position": {"line": 1, "character": 2}}


def _messages() -> list[dict[str, Any]]:
    document = {"uri": _URI, "languageId": "python", "version": 1, "text": "def f(a):\n    ré😀\n"}
    change = {"range": {"start": {"line": 0, "character": 1}, "end": {"line": 1, "character": 9}},
              "text": "x\n"}  # fmt: skip
    asked: list[tuple[str, Any]] = [
        ("textDocument/inlineCompletion", {**_AT, "context": {"triggerKind": 1}}),
        ("textDocument/completion", _AT),
        ("textDocument/hover", _AT),
        (
            "textDocument/codeAction",
            {**_AT, "range": change["range"], "context": {"diagnostics": []}},
        ),
        ("workspace/executeCommand", {"command": "starling.accepted", "arguments": [{}]}),
        ("workspace/executeCommand", {"command": "starling.matches", "arguments": []}),
        ("workspace/executeCommand", {"command": "starling.explain", "arguments": [_AT]}),
        ("shutdown", None),
    ]
    told: list[tuple[str, Any]] = [
        ("textDocument/didOpen", {"textDocument": document}),
        ("textDocument/didChange", {"textDocument": {"uri": _URI, "version": 2},
                                    "contentChanges": [change]}),
        ("workspace/didChangeConfiguration", {"settings": {"starling": {"debounceMs": 0}}}),
        ("$/cancelRequest", {"id": 2}),
        ("textDocument/didClose", {"textDocument": {"uri": _URI}}),
    ]  # fmt: skip
    start = {"id": 0, "method": "initialize", "params": {"capabilities": {}, "processId": None}}
    notifications = [{"method": method, "params": params} for method, params in told]
    requests = [
        {"id": number, "method": method, "params": params}
        for number, (method, params) in enumerate(asked, 1)
    ]
    whole = [start, *notifications[:2], *requests[:-1], *notifications[2:], requests[-1]]
    return [{"jsonrpc": "2.0", **message} for message in whole]


class _Lines:
    """What `StarlingServer.serve` reads: bodies that are all there."""

    def __init__(self, bodies: list[bytes]) -> None:
        self._bodies = iter(bodies)

    async def next(self) -> bytes | None:
        return next(self._bodies, None)

    def end(self) -> None:
        self._bodies = iter(())


class _Nobody:
    """A client that reads nothing."""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


async def _serve(bodies: list[bytes]) -> None:
    from lsp_server.server import StarlingServer

    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    server = StarlingServer(bundle_path=Path("/nowhere/no-model.gguf"))
    try:
        await server.serve(_Lines(bodies), _Nobody())
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=0.2) if others else None
    finally:
        server.end_worker()
    if problems:
        raise problems[0].get("exception") or AssertionError(problems[0]["message"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged meanwhile: each odd message would be a line."""
    loggers = [logging.getLogger(name) for name in ("lsp_server", "pygls")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _parse(data: bytes, _: Path) -> None:
    with _quiet():
        asyncio.run(_serve(data.split(b"\n")))


def session() -> Target:
    """Messages of every kind that a client sends."""
    seed = b"\n".join(json.dumps(message).encode() for message in _messages())
    return Target(
        parse=_parse,
        allowed=(),
        seeds=(seed,),
        mutate=any_json_lines,
    )
