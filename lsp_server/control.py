"""What the user steers while the server runs: pause, resume, models, status, the prompt.

Each command takes one object and answers null when something is wrong, which the status explains.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server.questions import Question, context_of, to_point
from lsp_server.settings import expanded
from lsp_server.status import State

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

MAX_PAUSE_MINUTES = 7 * 24 * 60.0


def register(server: StarlingServer) -> None:
    """Makes the commands known to pygls."""
    server.command("starling.showPrompt")(show_prompt)
    server.command("starling.pause")(pause)
    server.command("starling.resume")(resume)
    server.command("starling.models")(models)
    server.command("starling.useModel")(use_model)
    server.command("starling.status")(status)


class Pause:
    """Nothing is computed while it lasts."""

    def __init__(self, server: StarlingServer) -> None:
        self.is_on = False
        self._server = server
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, minutes: float | None) -> None:
        """Until `end`, or until so many minutes are over."""
        self._stop_timer()
        self.is_on = True
        if minutes is not None:
            self._timer = asyncio.get_running_loop().call_later(minutes * 60, self.end)
        self._server.stop_computing()
        self._server.status.update(state=self._server.resting_state())

    def end(self) -> None:
        """Suggestions again."""
        self._stop_timer()
        self.is_on = False
        self._server.status.update(state=self._server.resting_state())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# pygls resolves a command's annotations at run time, so `ls` cannot name a type imported for type
# checkers only.
async def show_prompt(ls: Any, *arguments: Any) -> str | None:
    """Exactly what the model would see at `{"textDocument": {"uri"}, "position"}`."""
    try:
        where = ls.protocol._converter.structure(arguments[0], types.TextDocumentPositionParams)
    except Exception:
        _refuse(ls, "starling.showPrompt needs a textDocument and a position")
        return None
    document = ls.documents.get(where.text_document.uri)
    if document is None:
        _refuse(ls, "the prompt can be shown for open documents only")
        return None
    ls.loading.touch()
    if ls.service is None:
        _refuse(ls, "the prompt can be shown once the model is loaded")
        return None
    try:
        question = Question(uri=document.uri, point=to_point(where.position), is_automatic=False)
        at = context_of(ls, document, question)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(ls.worker, ls.service.prompt_text, at)
    except Exception as error:
        ls.report_failure("showing the prompt", error)
        return None


async def pause(ls: Any, *arguments: Any) -> None:
    """Stops suggesting, for `{"minutes"}` or until `starling.resume`."""
    minutes = _value(arguments, "minutes")
    if minutes is None:
        ls.pause.begin(None)
    elif _is_number(minutes) and 0 < minutes <= MAX_PAUSE_MINUTES:
        ls.pause.begin(float(minutes))
    else:
        _refuse(ls, f"starling.pause takes minutes from 0 to {MAX_PAUSE_MINUTES:g}, or nothing")


async def resume(ls: Any, *arguments: Any) -> None:
    """Suggests again."""
    ls.pause.end()


async def models(ls: Any, *arguments: Any) -> list[dict[str, Any]] | None:
    """The models to choose from."""
    from lsp_server.models import find_models, is_same

    try:
        folders, current = ls.settings.model_folders, ls.settings.bundle_path

        def look() -> list[dict[str, Any]]:
            found = find_models(folders)
            return [one.to_json(is_current=is_same(one.path, current)) for one in found]

        return await asyncio.get_running_loop().run_in_executor(None, look)
    except Exception as error:
        ls.report_failure("looking for models", error)
        return None


async def use_model(ls: Any, *arguments: Any) -> None:
    """Loads the bundle or GGUF file at `{"path"}`; one that is no model changes nothing."""
    path = _value(arguments, "path")
    if not isinstance(path, str) or not path:
        _refuse(ls, "starling.useModel needs the path of a bundle or a GGUF file")
        return
    wanted = expanded(path)
    loop = asyncio.get_running_loop()
    try:
        problem = await loop.run_in_executor(None, _problem_with, wanted)
    except Exception as error:
        ls.report_failure("opening the model", error)
        return
    if problem:
        _refuse(ls, problem)
    else:
        ls.use_model(wanted)


async def status(ls: Any, *arguments: Any) -> dict[str, Any]:
    """What `starling/status` would say now, with fresh figures."""
    figures = ls.service.figures if ls.service is not None else None
    ls.status.update(
        workspace_tokens=ls.service.n_workspace_tokens if ls.service is not None else None,
        tokens_per_second=figures.tokens_per_second if figures else None,
        hit_rate=figures.hit_rate if figures else None,
    )
    values: dict[str, Any] = ls.status.current.to_json()
    return values


def _problem_with(path: Path) -> str:
    """Why the file or folder is no model; empty when it looks like one."""
    from runtime.bundle import open_bundle
    from runtime.errors import StarlingRuntimeError

    try:
        open_bundle(path)
    except StarlingRuntimeError as error:
        return str(error)
    return ""


def _refuse(ls: Any, reason: str) -> None:
    """Null for the client, a sentence in the status."""
    state = State.BUSY if ls.status.current.state is State.BUSY else ls.resting_state()
    ls.status.update(state=state, reason=reason)


def _value(arguments: tuple[Any, ...], key: str) -> Any:
    first = arguments[0] if arguments else None
    return first.get(key) if isinstance(first, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
