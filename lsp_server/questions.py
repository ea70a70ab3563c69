"""From a question (where, how many, asked by whom) to suggestions in their places.

The rules of freshness and manners are held here, whichever LSP method asks: the latest request of a
document wins; nothing is answered about a text that has changed since; who types is waited for; and
nothing is computed where, or while, it is not wanted.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server import debounce, documents
from lsp_server.context.cursor import CursorContext
from lsp_server.documents import Document, Point
from lsp_server.status import State
from lsp_server.suggestion import Suggestion, first_copied_source, moved, report_to_json
from lsp_server.wanted import is_wanted

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer
    from lsp_server.service import CompletionService

# A status item that flickers at each key is worse than none.
BUSY_AFTER_S = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The entry that is selected in the editor's list, which suggestions must begin with."""

    start: Point
    end: Point
    """What it would replace."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request for suggestions."""

    uri: str
    point: Point
    is_automatic: bool
    """Asked by the editor while somebody types, not by the user."""
    selected: Selected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A suggestion with the place that it goes to, in the client's units."""

    start: Point
    end: Point
    """On the line of `start`."""
    replaced: str
    """What stands there now."""
    suggestion: Suggestion
    """With the selected entry as its head, if there is one."""


async def answer(ls: StarlingServer, question: Question) -> tuple[Placed, ...]:
    """Suggestions, best first; none where there is nothing good, or no use for it any more."""
    ls.supersede(question.uri)
    document = ls.documents.get(question.uri)
    if document is None or not _may_compute(ls, document, question):
        return ()
    ls.loading.touch()
    revision = document.revision
    at = context_of(ls, document, question)
    ls.prefetch.yield_to(at, question.point)
    cancel = ls.running[question.uri] = threading.Event()
    try:
        service = ls.service or await ls.loading.model_that_returns()
        if service is None or cancel.is_set():
            return ()
        suggestions = await _suggestions(ls, service, at, question, cancel)
    except asyncio.CancelledError:
        cancel.set()
        raise
    finally:
        if ls.running.get(question.uri) is cancel:
            del ls.running[question.uri]
    unchanged = ls.documents.get(question.uri) is document and document.revision == revision
    if cancel.is_set() or not unchanged:
        return ()
    placed = tuple(_placed(document, question, suggestion) for suggestion in suggestions)
    if placed:
        _tell_shown(ls, question.uri, placed[0])
    return placed


def context_of(ls: StarlingServer, document: Document, question: Question) -> CursorContext:
    """What decides the answer; a selected list entry counts as typed."""
    selected = question.selected
    if selected is None:
        return ls.neighbours.at_cursor(ls.documents, document, question.point, ls.root_uris)
    at = ls.neighbours.at_cursor(ls.documents, document, selected.start, ls.root_uris)
    return replace(at, prefix=at.prefix + selected.text, suffix=document.cut(selected.end).suffix)


def accept_json(uri: str, placed: Placed) -> dict[str, Any]:
    """The argument of the command that a client runs when the suggestion was accepted."""
    return {
        "uri": uri,
        "range": {"start": placed.start._asdict(), "end": placed.end._asdict()},
        "text": placed.suggestion.text,
        "replaced": placed.replaced,
        "confidence": round(placed.suggestion.confidence, 4),
        "meanLogprob": round(placed.suggestion.mean_logprob, 4),
        "tokens": [[text, round(logprob, 3)] for text, logprob in placed.suggestion.tokens],
        **report_to_json(placed.suggestion.report),
    }


def to_point(position: types.Position) -> Point:
    """A place as `documents` names it."""
    return Point(position.line, position.character)


def _may_compute(ls: StarlingServer, document: Document, question: Question) -> bool:
    if ls.pause.is_on or document.n_chars > documents.MAX_DOCUMENT_CHARS:
        return False
    if not is_wanted(ls.settings, document.uri, document.language_id, ls.root_uris):
        return False
    saves_battery = question.is_automatic and ls.settings.battery_saver
    return not (saves_battery and ls.power.is_battery())


async def _suggestions(
    ls: StarlingServer,
    service: CompletionService,
    at: CursorContext,
    question: Question,
    cancel: threading.Event,
) -> tuple[Suggestion, ...]:
    """What is remembered at once; what must be computed when the user pauses."""
    loop = asyncio.get_running_loop()
    n = 1 if question.is_automatic else ls.settings.max_alternatives
    by_hand = not question.is_automatic

    def recall() -> tuple[Suggestion, ...] | None:
        return service.recall(at, n=n, is_asked_for=by_hand)

    def complete() -> tuple[Suggestion, ...]:
        return service.complete(at, cancel, n=n, is_asked_for=by_hand)

    known = await loop.run_in_executor(ls.worker, recall)
    if known is not None:
        return known
    if question.is_automatic and not cancel.is_set():
        await asyncio.sleep(
            debounce.wait_ms(
                setting_ms=ls.settings.debounce_ms,
                mean_compute_ms=service.figures.mean_compute_ms,
                client_name=ls.client_name,
            )
            / 1000
        )
    at = await ls.neighbours.completed(at)
    if cancel.is_set():
        return ()
    busy = loop.call_later(BUSY_AFTER_S, lambda: ls.status.update(state=State.BUSY))
    try:
        suggestions = await loop.run_in_executor(ls.worker, complete)
        if ls.status.current.state is State.ERROR:
            ls.status.update(state=ls.resting_state(), reason="")
        return suggestions
    finally:
        busy.cancel()
        if ls.status.current.state is State.BUSY:
            ls.status.update(state=ls.resting_state())


def _placed(document: Document, question: Question, suggestion: Suggestion) -> Placed:
    start = document.clamp(question.point)
    end = start
    if question.selected is not None:
        start = document.clamp(question.selected.start)
        end = document.clamp(question.selected.end)
        suggestion = _behind(question.selected.text, suggestion)
    end = document.forward(end, suggestion.n_replaced_chars)
    return Placed(
        start=start, end=end, replaced=document.between(start, end), suggestion=suggestion
    )


def _behind(head: str, suggestion: Suggestion) -> Suggestion:
    """Both as one text, which the tokens alone do not spell."""
    return replace(
        suggestion,
        text=head + suggestion.text,
        report=moved(suggestion.report, len(head)),
        tokens=(),
    )


def _tell_shown(ls: StarlingServer, uri: str, placed: Placed) -> None:
    report = placed.suggestion.report
    service = ls.service
    ls.status.update(
        reason="",
        verdict=str(report.verdict),
        source=first_copied_source(report),
        tokens_per_second=service.figures.tokens_per_second if service else None,
        hit_rate=service.figures.hit_rate if service else None,
        workspace_tokens=service.n_workspace_tokens if service else None,
    )
    accept = accept_json(uri, placed)
    for react in ls.on_shown:
        react(accept)
