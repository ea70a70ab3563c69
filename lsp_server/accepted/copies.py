"""Which stretches of the open documents are accepted copies, kept in step with every edit.

Knows documents and marks, no LSP messages and no files. To be used by the event loop's thread only.
"""

import itertools
from collections import defaultdict
from dataclasses import dataclass

from lsp_server.accepted.acceptance import Acceptance, CopiedPart
from lsp_server.documents import Document, Documents
from lsp_server.marks import Mark

# A client may say that a suggestion was accepted before it sends the edit that does it.
_MAX_WAITING_EDITS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AcceptedCopy:
    """One accepted suggestion that repeats the training data, where it stands now."""

    copy_id: int
    document: Document
    mark: Mark
    acceptance: Acceptance


class Copies:
    """The accepted copies of one session."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._ids = itertools.count(1)
        self._by_uri: dict[str, list[AcceptedCopy]] = defaultdict(list)
        self._waiting: dict[str, tuple[Acceptance, int]] = {}
        self._ignored: set[str] = set()

    def accept(self, acceptance: Acceptance) -> None:
        """Follows an accepted text, now or when the edit that inserts it comes."""
        if acceptance.copies and not self._begin(acceptance):
            self._waiting[acceptance.uri] = (acceptance, _MAX_WAITING_EDITS)

    def edited(self, uri: str) -> None:
        """A document was changed, opened or closed."""
        document = self._documents.get(uri)
        self._by_uri[uri] = [
            copy
            for copy in self._by_uri.pop(uri, ())
            if copy.mark.is_intact and copy.document is document
        ]
        acceptance, n_left = self._waiting.pop(uri, (None, 0))
        if acceptance is not None and n_left and document and not self._begin(acceptance):
            self._waiting[uri] = (acceptance, n_left - 1)
        if not self._by_uri[uri]:
            del self._by_uri[uri]

    def ignore(self, packages: tuple[str, ...]) -> tuple[str, ...]:
        """Reports no copies of these any more; the documents that had some."""
        self._ignored.update(packages)
        return tuple(self._by_uri)

    def of(self, uri: str) -> tuple[AcceptedCopy, ...]:
        """The copies in a document, in the order of acceptance."""
        return tuple(self._by_uri.get(uri, ()))

    def get(self, uri: str, copy_id: int) -> AcceptedCopy | None:
        """The copy, unless it was changed since."""
        return next((copy for copy in self.of(uri) if copy.copy_id == copy_id), None)

    def parts(self, copy: AcceptedCopy) -> tuple[tuple[int, CopiedPart], ...]:
        """The parts to report, with their index in the acceptance."""
        return tuple(
            (part_idx, part)
            for part_idx, part in enumerate(copy.acceptance.copies)
            if not self._ignored.issuperset(part.packages)
        )

    def _begin(self, acceptance: Acceptance) -> bool:
        document = self._documents.get(acceptance.uri)
        mark = document.mark(acceptance.start, acceptance.text) if document else None
        if document is None or mark is None:
            return False
        copy = AcceptedCopy(
            copy_id=next(self._ids), document=document, mark=mark, acceptance=acceptance
        )
        self._by_uri[acceptance.uri].append(copy)
        return True
