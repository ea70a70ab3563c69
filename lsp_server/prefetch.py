"""Computing ahead while nobody waits: what comes after an accepted suggestion, and the prompt of a
document that was opened or saved.

Everything here gives way to any request. What it finds goes into the cache of suggestions and the
model's own; a document that changed meanwhile simply never asks for it. For the event loop's
thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lsp_server import documents
from lsp_server.documents import Document, Point
from lsp_server.wanted import is_wanted

if TYPE_CHECKING:
    from lsp_server.context.cursor import CursorContext
    from lsp_server.server import StarlingServer
    from lsp_server.service import CompletionService

logger = logging.getLogger(__name__)

# Editors open and save several files at once, and format after saving; whoever reads ahead at each
# of these reads in vain.
IDLE_AFTER_S = 0.5

Job = Callable[["CompletionService", "CursorContext", threading.Event], None]


class Prefetch:
    """At most one computation ahead."""

    def __init__(self, server: StarlingServer) -> None:
        self._server = server
        self._timer: asyncio.TimerHandle | None = None
        self._at: CursorContext | None = None
        self._job: Job = _read_ahead
        self._cancel = threading.Event()
        self._last_points: dict[str, Point] = {}

    def after_accept(self, accept: dict[str, Any]) -> None:
        """The user took a suggestion: computes the next one, as if its text stood there already.

        Clients say so before or after the edit that inserts the text.
        """
        try:
            uri, text, span = accept["uri"], accept["text"], accept["range"]
            start, end = (Point(**span[name]) for name in ("start", "end"))
        except (KeyError, TypeError):
            return
        document = self._server.documents.get(uri)
        if document is None or not isinstance(text, str) or not self._may_compute(document):
            return
        at = self._context(document, start)
        before = at.prefix
        suffix = document.cut(end).suffix
        if at.suffix.startswith(text):
            suffix = at.suffix[len(text) :]
        self._begin(replace(at, prefix=before + text, suffix=suffix), _complete)

    def after_open(self, uri: str) -> None:
        """Reads the head of a new document, once it is quiet."""
        self._later(uri, Point(0, 0))

    def after_load(self) -> None:
        """A model is there: reads the document that was opened last."""
        opened = self._server.documents.all()
        if opened:
            self.after_save(opened[-1].uri)

    def after_save(self, uri: str) -> None:
        """Reads a document where the user was last in it, once it is quiet."""
        self._later(uri, self._last_points.get(uri, Point(0, 0)))

    def after_edit(self) -> None:
        """The user types: nothing is read ahead; what was accepted may be this very edit."""
        self._stop_timer()

    def after_close(self, uri: str) -> None:
        """Nobody will ask for this document."""
        self._last_points.pop(uri, None)
        if self._at is not None and self._at.uri == uri:
            self.stop()

    def yield_to(self, at: CursorContext, point: Point) -> None:
        """A request comes: gives way, unless it asks for the very thing that is being computed.

        What was read until then is not lost, so reading always gives way.
        """
        self._last_points[at.uri] = point
        self._stop_timer()
        if self._at != at or self._job is _read_ahead:
            self.stop()

    def stop(self) -> None:
        """Gives up."""
        self._stop_timer()
        self._cancel.set()
        self._at = None

    def _later(self, uri: str, point: Point) -> None:
        """Reads ahead at `point` when nothing happens for a while."""
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(IDLE_AFTER_S, self._read, uri, point)

    def _read(self, uri: str, point: Point) -> None:
        self._timer = None
        document = self._server.documents.get(uri)
        if document is not None and not self._server.running and self._may_compute(document):
            at = self._context(document, point)
            if self._server.neighbours.is_choosing(uri):
                self._later(uri, point)  # The prompt will begin with what is being chosen.
            else:
                self._begin(at, _read_ahead)

    def _begin(self, at: CursorContext, job: Job) -> None:
        service = self._server.service
        if service is None:
            return
        self.stop()
        self._at, self._job, self._cancel = at, job, threading.Event()
        self._server.worker.submit(_guarded, job, service, at, self._cancel)

    def _context(self, document: Document, point: Point) -> CursorContext:
        server = self._server
        return server.neighbours.at_cursor(server.documents, document, point, server.root_uris)

    def _may_compute(self, document: Document) -> bool:
        server = self._server
        settings = server.settings
        return (
            settings.prefetch
            and not server.pause.is_on
            and document.n_chars <= documents.MAX_DOCUMENT_CHARS
            and is_wanted(settings, document.uri, document.language_id, server.root_uris)
            and not (settings.battery_saver and server.power.is_battery())
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _complete(service: CompletionService, at: CursorContext, cancel: threading.Event) -> None:
    service.compute_ahead(at, cancel)


def _read_ahead(service: CompletionService, at: CursorContext, cancel: threading.Event) -> None:
    service.read_ahead(at, cancel)


def _guarded(
    job: Job, service: CompletionService, at: CursorContext, cancel: threading.Event
) -> None:
    """In the worker. Nobody asked, so nobody is told; the next request will find the same."""
    try:
        job(service, at, cancel)
    except Exception as error:
        logger.warning("computing ahead failed: %s", type(error).__name__)
