"""Explanations as LSP messages: the command `starling.explain`, hovers, and a code action.

Facts are read in a thread of their own and sent at once; a model writes in the server's one worker,
a few tokens at a time, so that completions asked for meanwhile come in between. A failure is a
sentence in the status, never a dialog.
"""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server.context.cursor import prompt_path
from lsp_server.documents import MAX_DOCUMENT_CHARS, Document
from lsp_server.errors import LspServerError
from lsp_server.explain.languages import language_of
from lsp_server.questions import to_point
from runtime import source_text
from runtime.errors import StarlingRuntimeError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from lsp_server.explain.explanation import Explanation
    from lsp_server.explain.reading import Where
    from lsp_server.server import StarlingServer

COMMAND = "starling.explain"
ACTION_KIND = "source.explain"
STILL_LOADING = "The model is still being loaded: ask again for its words."
PAUSED = "Starling is paused, so no model was asked."

# A cursor on the name in a definition's line; whether it is one is found out when it is explained.
_DEFINES = re.compile(
    r"\b(?:def|class|function\*?|func|fn|struct|interface|trait|enum|impl|record)\s+"
    r"(?:\([^)]*\)\s*)?(?P<name>[A-Za-z_$][\w$]*)"
)
_METHOD = re.compile(r"(?P<name>[A-Za-z_$][\w$]*)\s*\([^;]*\{\s*$")
_NO_METHOD = frozenset("if for while switch catch return else do try synchronized match".split())


def register(server: StarlingServer) -> None:
    """Makes the command, hovers and the action known to pygls."""
    server.command(COMMAND)(explain)
    server.feature(types.TEXT_DOCUMENT_HOVER)(hover)
    server.code_action_offers.append(offer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What an explanation is asked about, taken at one moment."""

    text: str
    path: str
    language_id: str
    where: Where | None


# pygls resolves a command's annotations at run time, so `ls` cannot name a type imported for type
# checkers only.
async def explain(ls: Any, *arguments: Any) -> dict[str, Any] | None:
    """The explanation of `{"textDocument": {"uri"}, "range"?, "position"?, "token"?}`.

    `range` is a selection, `position` a cursor, neither the file. With a `token`, what there is so
    far is sent as `$/progress`.
    """
    first = arguments[0] if arguments else None
    values = first if isinstance(first, dict) else {}
    try:
        document, asked = _asked(ls, values)
    except LspServerError as error:
        _refuse(ls, str(error))
        return None
    except Exception:
        _refuse(ls, f"{COMMAND} needs a textDocument, and may have a range or a position")
        return None
    cancel = threading.Event()
    key = f"{COMMAND} {uuid.uuid4()}"
    ls.running[key] = cancel
    try:
        return await _explained(ls, asked, values.get("token"), cancel)
    except LspServerError as error:
        _refuse(ls, str(error))
    except Exception as error:
        ls.report_failure(f"explaining a {document.language_id or 'document'}", error)
    finally:
        # Also when the client cancelled: the model stops at its next token.
        cancel.set()
        ls.running.pop(key, None)
    return None


async def hover(ls: Any, params: types.HoverParams) -> types.Hover | None:
    """A short explanation of the function or class whose name the pointer is on; by no model."""
    if not ls.settings.hover_explains or ls.pause.is_on:
        return None
    try:
        position = {"line": params.position.line, "character": params.position.character}
        values = {"textDocument": {"uri": params.text_document.uri}, "position": position}
        _, asked = _asked(ls, values)
        loop = asyncio.get_running_loop()
        markdown = await loop.run_in_executor(None, _named, asked)
    except LspServerError:
        return None
    except Exception as error:
        ls.report_failure("explaining by hover", error)
        return None
    if not markdown:
        return None
    contents = types.MarkupContent(kind=types.MarkupKind.Markdown, value=markdown)
    return types.Hover(contents=contents)


def offer(ls: Any, params: types.CodeActionParams) -> list[types.CodeAction]:
    """For a selection or on a definition's name, when the user asks what can be done."""
    uri, chosen = params.text_document.uri, params.range
    document = ls.documents.get(uri)
    if (
        document is None
        or params.context.trigger_kind is types.CodeActionTriggerKind.Automatic
        or language_of(prompt_path(uri, ()), document.language_id) is None
    ):
        return []
    argument: dict[str, Any] = {"textDocument": {"uri": uri}}
    start = {"line": chosen.start.line, "character": chosen.start.character}
    if (chosen.start.line, chosen.start.character) != (chosen.end.line, chosen.end.character):
        end = {"line": chosen.end.line, "character": chosen.end.character}
        argument["range"] = {"start": start, "end": end}
    elif _is_on_a_name(document, chosen.start):
        argument["position"] = start
    else:
        return []
    command = types.Command(title="Explain this", command=COMMAND, arguments=[argument])
    return [types.CodeAction(title="Explain this", kind=ACTION_KIND, command=command)]


async def _explained(ls: Any, asked: _Asked, token: Any, cancel: threading.Event) -> dict[str, Any]:
    from lsp_server.explain.explanation import facts_only, with_prose
    from lsp_server.explain.markdown import documented_purpose
    from lsp_server.explain.reading import read

    loop = asyncio.get_running_loop()

    def read_facts() -> Any:
        return read(asked.text, path=asked.path, language_id=asked.language_id, where=asked.where)

    subject = await loop.run_in_executor(None, read_facts)
    shown = facts_only(subject)
    _show(ls, token, shown)
    instruct_path = ls.settings.instruct_model_path
    if ls.pause.is_on:
        return _answer(facts_only(subject, note=PAUSED))
    if instruct_path is None:
        ls.loading.touch()
        if ls.service is None:
            note = "" if documented_purpose(subject.facts) else STILL_LOADING
            return _answer(facts_only(subject, note=note))
    steps = with_prose(
        subject,
        asked.text,
        asked.path,
        service=ls.service,
        instruct_model_path=instruct_path,
        cancel=cancel,
    )
    try:
        while (step := await _next(loop, ls.worker, steps)) is not None:
            shown = step
            _show(ls, token, shown)
    except StarlingRuntimeError as error:
        # The facts stand, whatever is wrong with a model.
        return _answer(facts_only(subject, note=f"No model was asked: {error}."))
    finally:
        # A generator ends in the thread that it ran in, where its model is closed.
        ls.worker.submit(steps.close)
    return _answer(shown)


async def _next(
    loop: asyncio.AbstractEventLoop, worker: Executor, steps: Any
) -> Explanation | None:
    """The next step, computed in the worker; None at the end."""
    return await loop.run_in_executor(worker, next, steps, None)


def _asked(ls: StarlingServer, values: dict[str, Any]) -> tuple[Document, _Asked]:
    """Raises ExplainError for a document that cannot be explained, or what a wrong value raises."""
    from lsp_server.errors import ExplainError
    from lsp_server.explain.reading import Where

    uri = values["textDocument"]["uri"]
    document = ls.documents.get(uri)
    if document is None:
        raise ExplainError("open documents can be explained, and this one is not open: open it")
    if document.n_chars > MAX_DOCUMENT_CHARS:
        raise ExplainError("this document is too long to be explained: split it")
    where = None
    if (chosen := values.get("range")) is not None:
        ends = [_char(document, chosen[end]) for end in ("start", "end")]
        where = Where(start_char=min(ends), end_char=max(ends))
    elif (cursor := values.get("position")) is not None:
        char = _char(document, cursor)
        where = Where(start_char=char, end_char=char)
    asked = _Asked(
        text=source_text.to_model_text(document.text),
        path=prompt_path(uri, ls.root_uris),
        language_id=document.language_id,
        where=where,
    )
    return document, asked


def _char(document: Document, position: dict[str, int]) -> int:
    """Where a position lies in the model text."""
    point = to_point(types.Position(int(position["line"]), int(position["character"])))
    return len(document.cut(point).prefix)


def _named(asked: _Asked) -> str:
    from lsp_server.explain.markdown import to_short_markdown
    from lsp_server.explain.reading import read_named

    assert asked.where is not None
    subject = read_named(
        asked.text,
        path=asked.path,
        language_id=asked.language_id,
        at_char=asked.where.start_char,
    )
    return to_short_markdown(subject.facts, subject.language) if subject is not None else ""


def _is_on_a_name(document: Document, position: types.Position) -> bool:
    """By the line alone: this is asked with every move of the cursor in some editors."""
    point = document.clamp(to_point(position))
    line = document.lines[point.line].rstrip("\r\n")
    before = document.between(point._replace(character=0), point)
    found = _DEFINES.search(line) or _METHOD.search(line)
    if found is None or found["name"] in _NO_METHOD:
        return False
    return found.start("name") <= len(before) <= found.end("name")


def _show(ls: StarlingServer, token: Any, shown: Explanation) -> None:
    # A client that lags gets the end result only.
    has_room = getattr(ls.protocol.writer, "has_room", True)
    if isinstance(token, str | int) and has_room:
        value = {"kind": "report", "markdown": shown.markdown}
        ls.protocol.notify("$/progress", types.ProgressParams(token=token, value=value))


def _answer(shown: Explanation) -> dict[str, Any]:
    return {"markdown": shown.markdown, "generated": shown.is_generated}


def _refuse(ls: StarlingServer, reason: str) -> None:
    """Null for the client, a sentence in the status."""
    ls.status.update(state=ls.resting_state(), reason=reason)
