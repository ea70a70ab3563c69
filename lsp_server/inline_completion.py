"""`textDocument/inlineCompletion`: ghost text.

"Nothing" is an empty list, since Neovim keeps old ghost text on null; a range is always explicit,
since without one Neovim puts the text at the wrong place after a key that spells its head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.questions import Placed, Question, Selected, accept_json, answer, to_point

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

ACCEPTED_COMMAND = "starling.accepted"


def register(server: StarlingServer) -> None:
    """Makes the handler known to pygls."""
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
        inline_completion
    )


async def inline_completion(
    ls: StarlingServer, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """Suggestions at the cursor, or an empty list."""
    try:
        uri = params.text_document.uri
        placed = await answer(ls, _question(params))
        return types.InlineCompletionList(items=[_item(uri, one) for one in placed])
    except Exception as error:
        ls.report_failure("completion", error)
        return types.InlineCompletionList(items=[])


def accept_command(uri: str, placed: Placed) -> types.Command:
    """What a client runs after it has inserted the suggestion."""
    return types.Command(
        title="Starling: suggestion accepted",
        command=ACCEPTED_COMMAND,
        arguments=[accept_json(uri, placed)],
    )


def _question(params: types.InlineCompletionParams) -> Question:
    info = params.context.selected_completion_info
    return Question(
        uri=params.text_document.uri,
        point=to_point(params.position),
        is_automatic=params.context.trigger_kind is types.InlineCompletionTriggerKind.Automatic,
        selected=None
        if info is None
        else Selected(
            start=to_point(info.range.start), end=to_point(info.range.end), text=info.text
        ),
    )


def _item(uri: str, placed: Placed) -> types.InlineCompletionItem:
    r"""The text keeps ``\n`` line ends whatever the document has: VS Code turns them into the
    document's own, and Neovim splits at ``\n``, so that a ``\r`` would end up in the buffer.
    """
    return types.InlineCompletionItem(
        insert_text=placed.suggestion.text,
        range=types.Range(types.Position(*placed.start), types.Position(*placed.end)),
        command=accept_command(uri, placed),
    )
