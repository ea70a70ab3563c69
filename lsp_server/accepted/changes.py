"""The edits behind the actions on accepted copies, as LSP's workspace edits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls import uris

from lsp_server.accepted import notices_file
from lsp_server.accepted.acceptance import CopiedPart
from lsp_server.accepted.copies import AcceptedCopy
from lsp_server.accepted.diagnostics import range_of
from lsp_server.documents import Document, Point
from lsp_server.marks import end_of
from runtime import source_text

if TYPE_CHECKING:
    from attribution.licence_texts import LicenceTexts
    from attribution.match import Source
    from lsp_server.server import StarlingServer


def undo(copy: AcceptedCopy) -> types.TextEdit:
    """The accepted text goes; what it replaced comes back."""
    where = range_of(copy.document, copy.mark.start, copy.mark.end)
    return types.TextEdit(range=where, new_text=copy.acceptance.replaced)


def notice_above(copy: AcceptedCopy, part: CopiedPart) -> types.TextEdit | None:
    """A comment on the line above the copy, indented like it; None in a language without comments.

    An empty edit when the comment stands there already."""
    from attribution import notice

    comment = notice.header_comment(part.sources[0], copy.document.language_id)
    if not comment:
        return None
    line_idx, char_idx = copy.mark.start
    line = copy.document.lines[line_idx]
    indent = line[: min(len(line) - len(line.lstrip(" \t")), char_idx)]
    indented = "".join(indent + row for row in comment.splitlines(keepends=True))
    here = types.Position(line=line_idx, character=0)
    n_rows = indented.count("\n")
    above = copy.document.between(Point(line_idx - n_rows, 0), Point(line_idx, 0))
    is_there = line_idx >= n_rows and above == indented
    return types.TextEdit(
        range=types.Range(start=here, end=here), new_text="" if is_there else indented
    )


def in_document(
    ls: StarlingServer, document: Document, edit: types.TextEdit
) -> types.WorkspaceEdit:
    """An edit of an open document, as it is now: an editor that has moved on refuses it."""
    if not _client(ls).document_changes:
        return types.WorkspaceEdit(changes={document.uri: [edit]})
    return types.WorkspaceEdit(document_changes=[_versioned(document.uri, document.version, edit)])


async def notices_edit(
    ls: StarlingServer, document_uri: str, sources: Sequence[Source]
) -> types.WorkspaceEdit | None:
    """How the editor adds `sources` to the workspace's notices; None when nothing is left to do,
    because they are there or because they were written to disk.

    Raises AttributionError."""
    path = notices_file.notices_path(document_uri, ls.root_uris)
    loop = asyncio.get_running_loop()
    directory = ls.service.bundle.directory if ls.service is not None else None
    texts = await loop.run_in_executor(None, notices_file.licence_texts, directory)
    opened = next((one for one in ls.documents.all() if _is_file(one.uri, path)), None)
    if opened is not None:
        edit = _addition(opened, sources, texts)
        return in_document(ls, opened, edit) if edit else None
    client = _client(ls)
    operations = client.resource_operations or ()
    if not client.document_changes or types.ResourceOperationKind.Create not in operations:
        await loop.run_in_executor(None, notices_file.add, path, sources, texts)
        return None
    text = await loop.run_in_executor(None, notices_file.text_of, path)
    on_disk = Document.from_text(
        uri=uris.from_fs_path(str(path)) or "",
        language_id="plaintext",
        version=0,
        encoding=ls.documents.encoding,
        text=text or "",
    )
    edit = _addition(on_disk, sources, texts)
    if edit is None:
        return None
    changes: list[types.CreateFile | types.TextDocumentEdit] = []
    if text is None:
        options = types.CreateFileOptions(ignore_if_exists=True)
        changes.append(types.CreateFile(uri=on_disk.uri, options=options))
    changes.append(_versioned(on_disk.uri, None, edit))
    return types.WorkspaceEdit(document_changes=changes)


def _addition(
    document: Document, sources: Sequence[Source], texts: LicenceTexts
) -> types.TextEdit | None:
    """What a file of notices lacks, added at its end; None when it lacks nothing."""
    from attribution import notice

    text = source_text.to_model_text(document.text)
    whole = notice.appended(text, sources, texts)
    if whole == text:
        return None
    kept = text.rstrip("\n")
    assert whole.startswith(kept), "notices are added at the end"
    end = (len(document.lines) - 1, len(document.lines[-1]))
    where = range_of(document, end_of(kept, (0, 0)), end)
    return types.TextEdit(range=where, new_text=whole[len(kept) :])


def _versioned(uri: str, version: int | None, edit: types.TextEdit) -> types.TextDocumentEdit:
    identifier = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
    return types.TextDocumentEdit(text_document=identifier, edits=[edit])


def _client(ls: StarlingServer) -> types.WorkspaceEditClientCapabilities:
    workspace = ls.client_capabilities.workspace
    found = workspace.workspace_edit if workspace else None
    return found or types.WorkspaceEditClientCapabilities()


def _is_file(uri: str, path: Path) -> bool:
    own_path = uris.to_fs_path(uri) if uri.startswith("file:") else None
    return own_path is not None and Path(own_path) == path
