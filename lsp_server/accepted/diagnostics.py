"""Accepted copies as an editor shows them: diagnostics, and the actions offered on them."""

from lsprotocol import types

from attribution.swhid import with_lines
from lsp_server.accepted.acceptance import CopiedPart
from lsp_server.accepted.copies import AcceptedCopy, Copies
from lsp_server.documents import Document
from lsp_server.marks import Place

SOURCE = "starling"
INSERT_NOTICE = "starling.insertNotice"
ADD_TO_NOTICES = "starling.addToNotices"
IGNORE_SOURCE = "starling.ignoreSource"
UNDO_ACCEPT = "starling.undoAccept"

# Software Heritage resolves identifiers below this address; an editor opens it when asked to.
_RESOLVER = "https://archive.softwareheritage.org/"


def diagnostics_of(copies: Copies, uri: str, *, with_related: bool) -> tuple[types.Diagnostic, ...]:
    """One for each copied part; the other places of a part are its related information."""
    return tuple(
        _diagnostic(copy, part_idx, part, with_related=with_related)
        for copy in copies.of(uri)
        for part_idx, part in copies.parts(copy)
    )


def actions_at(
    copies: Copies, document: Document, asked: types.Range, *, with_related: bool
) -> list[types.CodeAction]:
    """What can be done about the copies that touch a range."""
    actions = []
    for copy in copies.of(document.uri):
        for part_idx, part in copies.parts(copy):
            diagnostic = _diagnostic(copy, part_idx, part, with_related=with_related)
            if _touch(diagnostic.range, asked):
                actions += _actions(copy, part_idx, part, diagnostic)
    return actions


def range_of(document: Document, start: Place, end: Place) -> types.Range:
    """A range in the client's units."""
    first, last = document.point_of(start), document.point_of(end)
    return types.Range(start=types.Position(*first), end=types.Position(*last))


def _diagnostic(
    copy: AcceptedCopy, part_idx: int, part: CopiedPart, *, with_related: bool
) -> types.Diagnostic:
    # Imported late: what it imports brings numba.
    from attribution import notice

    best, *others = part.sources
    where = _range(copy, part)
    swhid = with_lines(best.swhid, best.first_line, best.last_line)
    related = [
        types.DiagnosticRelatedInformation(
            location=types.Location(uri=copy.document.uri, range=where),
            message=f"also in {notice.title(other)}, {other.licence}: {notice.place(other)}",
        )
        for other in others
    ]
    return types.Diagnostic(
        range=where,
        severity=types.DiagnosticSeverity.Information,
        source=SOURCE,
        code=best.licence,
        code_description=types.CodeDescription(href=_RESOLVER + swhid),
        message=(
            f"Copied from {notice.title(best)}, licence {best.licence}: "
            f"{notice.place(best)}\n{swhid}"
        ),
        related_information=related if related and with_related else None,
        data=_key(copy, part_idx),
    )


def _range(copy: AcceptedCopy, part: CopiedPart) -> types.Range:
    """The lines of a part, as far as they were accepted: where exactly in its first and last line
    a copy begins and ends, attribution does not know."""
    text = copy.acceptance.text
    start, end = 0, len(text)
    if part.start_char < part.end_char:
        start = text.rfind("\n", 0, part.start_char) + 1
        end = text.find("\n", part.end_char)
        end = len(text) if end < 0 else end
    return range_of(copy.document, copy.mark.place_of(start), copy.mark.place_of(end))


def _actions(
    copy: AcceptedCopy, part_idx: int, part: CopiedPart, diagnostic: types.Diagnostic
) -> list[types.CodeAction]:
    best = part.sources[0]
    packages = ", ".join(part.packages)
    titles = {
        INSERT_NOTICE: f"Starling: insert a notice that this is from {best.origin}",
        ADD_TO_NOTICES: f"Starling: add {best.origin} to THIRD_PARTY_NOTICES",
        IGNORE_SOURCE: f"Starling: ignore copies of {packages} in this session",
        UNDO_ACCEPT: "Starling: undo the accepted suggestion",
    }
    argument = {"uri": copy.document.uri, **_key(copy, part_idx)}
    return [
        types.CodeAction(
            title=title,
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            command=types.Command(title=title, command=command, arguments=[argument]),
        )
        for command, title in titles.items()
    ]


def _key(copy: AcceptedCopy, part_idx: int) -> dict[str, int]:
    """What an action names a part by."""
    return {"copy": copy.copy_id, "part": part_idx}


def _touch(one: types.Range, other: types.Range) -> bool:
    def place(position: types.Position) -> Place:
        return position.line, position.character

    return place(one.start) <= place(other.end) and place(other.start) <= place(one.end)
