"""`textDocument/completion`: the suggestion as one entry of the list, for clients without ghost
text. What is offered to whom stands in `capabilities`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.explain.quoting import block, plain
from lsp_server.inline_completion import accept_command
from lsp_server.questions import Placed, Question, answer, to_point
from lsp_server.suggestion import package_name

if TYPE_CHECKING:
    from attribution.match import Report
    from lsp_server.server import StarlingServer

_MAX_LABEL_CHARS = 60
# After everything that a language's own server knows for certain.
_SORT_LAST = "\uffff"


def register(server: StarlingServer) -> None:
    """Makes the handler known to pygls."""
    server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions())(completion)


async def completion(ls: StarlingServer, params: types.CompletionParams) -> types.CompletionList:
    """One entry or none. Incomplete, so that the client asks again as the user types on."""
    try:
        uri = params.text_document.uri
        placed = await answer(ls, _question(params))
        items = [_item(ls, uri, one) for one in placed[:1]]
    except Exception as error:
        ls.report_failure("completion", error)
        items = []
    return types.CompletionList(is_incomplete=True, items=items)


def _question(params: types.CompletionParams) -> Question:
    # LSP calls both a typed letter and a key that asks "invoked" here: the thriftier one is meant.
    return Question(
        uri=params.text_document.uri, point=to_point(params.position), is_automatic=True
    )


def _item(ls: StarlingServer, uri: str, placed: Placed) -> types.CompletionItem:
    """Clients filter by the word before the cursor; a word that they find in `filter_text` keeps
    the entry. So the edit begins where that word does, and the filter text is what it inserts.
    """
    document = ls.documents.get(uri)
    assert document is not None, uri
    word = document.word_before(placed.start)
    text = word + placed.suggestion.text
    start = types.Position(*document.backward(placed.start, len(word)))
    first_line = text.split("\n", 1)[0].strip()
    return types.CompletionItem(
        label=_shortened(first_line) or "\u2026",
        label_details=types.CompletionItemLabelDetails(description="Starling"),
        kind=types.CompletionItemKind.Text,
        detail="Starling",
        documentation=types.MarkupContent(
            kind=types.MarkupKind.Markdown,
            value=_documentation(text, document.language_id, placed.suggestion.report),
        ),
        preselect=False,
        sort_text=_SORT_LAST,
        filter_text=first_line,
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(
            range=types.Range(start, types.Position(*placed.end)), new_text=text
        ),
        command=accept_command(uri, placed),
    )


def _shortened(line: str) -> str:
    return line if len(line) <= _MAX_LABEL_CHARS else line[: _MAX_LABEL_CHARS - 1] + "\u2026"


def _documentation(text: str, language_id: str, report: Report) -> str:
    """The whole suggestion, and where it stands in the training data."""
    lines = [block(text, language_id), f"match: {report.verdict}"]
    if report.reason:
        lines.append(plain(report.reason))
    for found in report.matches:
        lines += [
            plain(
                f"- {package_name(source.origin)} {source.version}, {source.path}, {source.licence}"
            )
            for source in found.sources
        ]
    return "\n".join(lines)
