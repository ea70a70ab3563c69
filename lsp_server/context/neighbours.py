"""What is shown of other files beside each open document, and when that is chosen anew.

The choice is made in a thread of its own, because it reads files, and a completion takes the last
one that is ready. It stays the same from key to key on purpose: these texts stand first in the
prompt, and a model keeps what it has read only up to the first change. It is made anew when files
were opened, closed or saved, when the user comes from another document, and when the cursor has
moved far.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from lsp_server.context.cursor import (
    CursorContext,
    OpenFile,
    OtherFile,
    Request,
    prompt_path,
)
from lsp_server.documents import Document, Documents, Point

if TYPE_CHECKING:
    from lsp_server.context.choosing import Chooser

logger = logging.getLogger(__name__)

# Two screens: what was near the cursor is not any more.
DRIFT_LINES = 100
# Of the documents that are open, and of those that were: the last ones that were typed in.
MAX_OPEN_DOCUMENTS = 12
MAX_RECENT_DOCUMENTS = 24
MAX_DOCUMENT_CHARS = 1_000_000
# Copying takes the event loop about a millisecond per million characters.
MAX_COPIED_CHARS = 3_000_000
# A choice takes 20 to 60 ms the first time; to read a prompt twice costs a model several hundred.
PATIENCE_S = 0.1
_LOOK_AGAIN_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What a choice holds for; another moment asks for another choice."""

    open_uris: frozenset[str]
    root_uris: tuple[str, ...]
    n_events: int
    """Saves, and switches from document to document, so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    moment: _Moment
    line: int
    files: tuple[OtherFile, ...]


class Neighbours:
    """The choices of one session. For the event loop's thread, but for what it submits."""

    def __init__(self, submit: Callable[[Callable[[], None]], object] | None = None) -> None:
        """`submit` runs a job, later and in another thread unless a test says otherwise."""
        self.enabled = True
        self.on_request: Callable[[Request], None] | None = None
        """Called with what each choice is made from, in the event loop's thread."""
        self.latest: Request | None = None
        self._submit = submit or self._in_own_thread
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._chooser: Chooser | None = None
        self._choices: OrderedDict[str, _Choice] = OrderedDict()
        self._pending: set[str] = set()
        self._lock = threading.Lock()
        self._recent_uris: OrderedDict[str, None] = OrderedDict()
        self._n_events = 0

    def at_cursor(
        self, documents: Documents, document: Document, point: Point, root_uris: Sequence[str]
    ) -> CursorContext:
        """The context of a cursor in an open document. Reads no file."""
        cut = document.cut(point)
        return CursorContext(
            uri=document.uri,
            path=prompt_path(document.uri, root_uris),
            language_id=document.language_id,
            prefix=cut.prefix,
            suffix=cut.suffix,
            other_files=self._files_beside(documents, document, point.line, tuple(root_uris)),
        )

    def is_choosing(self, uri: str) -> bool:
        """Whether other files of a document are being chosen."""
        with self._lock:
            return uri in self._pending

    async def completed(self, at: CursorContext) -> CursorContext:
        """`at` with the files that are being chosen, if that is soon: then the model need not read
        everything again at the next key.
        """
        if not self.is_choosing(at.uri):
            return at
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + PATIENCE_S
        while self.is_choosing(at.uri) and loop.time() < deadline_s:
            await asyncio.sleep(_LOOK_AGAIN_S)
        with self._lock:
            choice = self._choices.get(at.uri)
        return replace(at, other_files=choice.files) if choice and self.enabled else at

    def saved(self) -> None:
        """A file was saved, or changed on disk: choices that are made from now on may differ."""
        self._n_events += 1

    def close(self) -> None:
        """Ends the thread, after the file that it is reading; nobody waits for it."""
        self._jobs.put(None)

    def _files_beside(
        self, documents: Documents, document: Document, line: int, root_uris: tuple[str, ...]
    ) -> tuple[OtherFile, ...]:
        if not self.enabled:
            return ()
        self._note_use(document.uri)
        moment = _Moment(
            open_uris=frozenset(one.uri for one in documents.all()),
            root_uris=root_uris,
            n_events=self._n_events,
        )
        with self._lock:
            known = self._choices.get(document.uri)
            is_pending = document.uri in self._pending
        holds = known and known.moment == moment and abs(known.line - line) <= DRIFT_LINES
        if not holds and not is_pending and document.n_chars <= MAX_DOCUMENT_CHARS:
            request = self._request(documents, document, line, root_uris, known)
            self.latest = request
            if self.on_request is not None:
                self.on_request(request)
            with self._lock:
                self._pending.add(document.uri)
            self._submit(lambda: self._choose(document.uri, moment, line, request))
            with self._lock:
                known = self._choices.get(document.uri)
        return known.files if known else ()

    def _note_use(self, uri: str) -> None:
        """The last used document comes last; coming back from another one is an event."""
        if next(reversed(self._recent_uris), None) == uri:
            return
        self._recent_uris[uri] = None
        self._recent_uris.move_to_end(uri)
        self._n_events += 1
        while len(self._recent_uris) > MAX_RECENT_DOCUMENTS:
            self._recent_uris.popitem(last=False)

    def _request(
        self,
        documents: Documents,
        document: Document,
        line: int,
        root_uris: tuple[str, ...],
        known: _Choice | None,
    ) -> Request:
        """A copy of what the other thread may look at."""
        recent = [uri for uri in reversed(self._recent_uris) if uri != document.uri]
        others = [one.uri for one in documents.all() if one.uri not in recent]
        open_files: list[OpenFile] = []
        n_chars = 0
        for other in map(documents.get, [*recent, *others]):
            if other is None or other is document or other.n_chars > MAX_DOCUMENT_CHARS:
                continue
            n_chars += other.n_chars
            if n_chars > MAX_COPIED_CHARS or len(open_files) == MAX_OPEN_DOCUMENTS:
                break
            open_files.append(OpenFile(uri=other.uri, revision=other.revision, text=other.text))
        return Request(
            uri=document.uri,
            text=document.text,
            line=line,
            root_uris=root_uris,
            open_files=tuple(open_files),
            closed_uris=tuple(uri for uri in recent if documents.get(uri) is None),
            before=known.files if known else (),
        )

    def _choose(self, uri: str, moment: _Moment, line: int, request: Request) -> None:
        """In the other thread. Without files a completion is as good as it was before."""
        files = request.before
        try:
            if self._chooser is None:
                from lsp_server.context.choosing import Chooser

                self._chooser = Chooser()
            files = self._chooser.choose(request)
        except Exception as error:
            # Not its message, which may quote a path or a text.
            logger.error("choosing other files failed: %s", type(error).__name__)
        with self._lock:
            self._choices[uri] = _Choice(moment=moment, line=line, files=files)
            self._choices.move_to_end(uri)
            while len(self._choices) > MAX_RECENT_DOCUMENTS:
                self._choices.popitem(last=False)
            self._pending.discard(uri)

    def _in_own_thread(self, job: Callable[[], None]) -> None:
        """A daemon: a file system that hangs must not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="starling-context", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
