"""The words of a workspace: the files around a document as tokens, kept in memory only.

They are read in a thread of their own while nobody types, a few thousand characters at a time, and
sorted into an index (`runtime.text_index`) for that document. It does not hold the document itself,
where the longest match would be the cursor's own place, which votes for what stands behind it
already. A file that has not changed is not read again. Nothing of it is shown to the model: what
stands there only gets likelier (`runtime.memory`), and is written sooner (`runtime.drafts`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsp_server.context.choosing import path_of, root_of
from lsp_server.context.cursor import Request
from lsp_server.context.nearby import files_around
from lsp_server.context.refusals import Refusals
from lsp_server.context.sources import read_text, stamp_of
from runtime import source_text
from runtime.text_index import MAX_TOKENS, TextIndex

logger = logging.getLogger(__name__)

MAX_FILE_CHARS = 200_000
"""Larger files are made by programs, or are data."""
# Files of other workspaces are kept up to here, so that going back to them costs no reading.
MAX_KEPT_TOKENS = 2 * MAX_TOKENS
# Nobody has typed or waited for so long.
QUIET_S = 0.15
_LOOK_AGAIN_S = 0.02
# Tokenizing so much takes about 10 ms.
_STEP_CHARS = 8_000

_Stamp = tuple[object, ...]


class Workspace:
    """Of one loaded model, whose tokens these are. Its thread ends with `close`."""

    def __init__(self, tokenize: Callable[[str], list[int]]) -> None:
        """`tokenize` is called in the thread, and never after `close` has returned."""
        self._tokenize = tokenize
        self._kept: OrderedDict[Path, tuple[_Stamp, NDArray[np.int32]]] = OrderedDict()
        self._n_kept = 0
        self._refusals: dict[Path, Refusals] = {}
        self._index: TextIndex | None = None
        self._index_of: Path | None = None
        """The document that the index is for."""
        self._changed = threading.Condition()
        self._tokenizing = threading.Lock()
        self._wanted: Request | None = None
        self._n_changes = 0
        """Of what is wanted; what was begun before the last one is given up."""
        self._is_reading = False
        self._is_closed = False
        self._touched_s = 0.0
        self._thread: threading.Thread | None = None

    @property
    def n_tokens(self) -> int | None:
        """In the index; None while one is being made."""
        with self._changed:
            if self._wanted is not None or self._is_reading:
                return None
            return len(self._index.ids_M) if self._index is not None else 0

    def look_around(self, request: Request) -> None:
        """Reads the files around a document, soon. The newest request counts."""
        with self._changed:
            self._wanted = request
            self._n_changes += 1
            if self._thread is None:
                # A daemon: a file system that hangs must not keep the process alive.
                self._thread = threading.Thread(
                    target=self._work, name="starling-workspace", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def index_beside(self, uri: str) -> TextIndex | None:
        """What stands around a document; None where that is not known yet."""
        path = path_of(uri)
        with self._changed:
            return self._index if path is not None and path == self._index_of else None

    def touch(self) -> None:
        """Somebody types or waits: reading can wait."""
        self._touched_s = time.monotonic()

    def clear(self) -> None:
        """Forgets everything that was read."""
        with self._changed:
            self._wanted = None
            self._n_changes += 1
            self._index = self._index_of = None
            self._kept.clear()
            self._n_kept = 0

    def close(self) -> None:
        """Ends the thread, which may finish what it does with files, and forgets everything."""
        with self._tokenizing, self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._is_closed)
                if self._is_closed:
                    return
                request, self._wanted, self._is_reading = self._wanted, None, True
                n_changes = self._n_changes
            assert request is not None
            try:
                self._read(request, n_changes)
            except Exception as error:
                # Not its message, which may quote a path or a text.
                logger.error("reading the workspace failed: %s", type(error).__name__)
            finally:
                with self._changed:
                    self._is_reading = False

    def _read(self, request: Request, n_changes: int) -> None:
        path = path_of(request.uri)
        if path is None:
            return
        root = root_of(path, request.root_uris)
        texts: list[NDArray[np.int32]] = []
        n_left = MAX_TOKENS
        for ids in self._texts(request, root, n_changes):
            texts.append(ids[:n_left])
            n_left -= len(texts[-1])
            if n_left == 0:
                break
        if not self._may_go_on(n_changes):
            return
        index = TextIndex.of(texts)
        with self._changed:
            if n_changes == self._n_changes and not self._is_closed:
                self._index, self._index_of = index, path

    def _texts(self, request: Request, root: Path, n_changes: int) -> Iterator[NDArray[np.int32]]:
        """The tokens of the files around the document; ends when disturbed."""
        if root not in self._refusals:
            self._refusals[root] = Refusals(root)
        refusals = self._refusals[root]
        open_files = {path_of(file.uri): file for file in request.open_files}
        for other in files_around(request, refusals, root):
            open_file = open_files.get(other)
            stamp = ("open", open_file.revision) if open_file is not None else stamp_of(other)
            with self._changed:
                known = self._kept.get(other)
            if known is None or known[0] != stamp:
                text = (
                    source_text.to_model_text(open_file.text)
                    if open_file is not None
                    else read_text(other)
                )
                if text is None or len(text) > MAX_FILE_CHARS:
                    continue
                ids = self._tokens(text, n_changes)
                if ids is None:
                    return
                known = stamp, ids
            self._keep(other, known, n_changes)
            yield known[1]

    def _tokens(self, text: str, n_changes: int) -> NDArray[np.int32] | None:
        """Step by step, with pauses while somebody types; None: there is something else to do."""
        ids: list[int] = []
        for step in _steps(text):
            if not self._may_go_on(n_changes):
                return None
            with self._tokenizing:
                if self._is_closed:
                    return None
                ids += self._tokenize(step)
        return np.array(ids, np.int32)

    def _may_go_on(self, n_changes: int) -> bool:
        """Waits until nobody types; False when something else is wanted by then, or nothing."""
        with self._changed:
            while n_changes == self._n_changes and not self._is_closed:
                if time.monotonic() - self._touched_s >= QUIET_S:
                    return True
                self._changed.wait(_LOOK_AGAIN_S)
            return False

    def _keep(self, path: Path, entry: tuple[_Stamp, NDArray[np.int32]], n_changes: int) -> None:
        with self._changed:
            if n_changes != self._n_changes:
                return  # Maybe everything was to be forgotten.
            before = self._kept.pop(path, None)
            self._n_kept += len(entry[1]) - (len(before[1]) if before is not None else 0)
            self._kept[path] = entry
            while self._n_kept > MAX_KEPT_TOKENS:
                _, oldest = self._kept.popitem(last=False)
                self._n_kept -= len(oldest[1])


def _steps(text: str) -> Iterator[str]:
    """Whole lines, some thousand characters at a time."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _STEP_CHARS) + 1 or len(text)
        yield text[start:end]
        start = end
