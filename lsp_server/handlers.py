"""What the server does with each LSP message. Thin: translates, checks freshness, answers.

Rules held here: the latest request of a document wins; nothing is answered about a text that has
changed since; "nothing" is an empty list (Neovim keeps old ghost text on null); no exception but a
cancellation leaves a handler; the event loop computes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server import context, documents
from lsp_server.documents import Document, Point
from lsp_server.status import State
from lsp_server.suggestion import Suggestion, report_to_json

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer
    from lsp_server.service import CompletionService

ACCEPTED_COMMAND = "starling.accepted"
SHOW_PROMPT_COMMAND = "starling.showPrompt"
# A status item that flickers at each key is worse than none.
BUSY_AFTER_S = 0.15


def register(server: StarlingServer) -> None:
    """Makes the handlers known to pygls, which advertises what is registered."""
    # Without options pygls does not advertise inline completion, and no editor would ever ask.
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
        inline_completion
    )
    server.feature(types.INITIALIZE)(initialize)
    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(did_change_configuration)
    server.command(ACCEPTED_COMMAND)(accepted)
    server.command(SHOW_PROMPT_COMMAND)(show_prompt)


def initialize(ls: StarlingServer, params: types.InitializeParams) -> None:
    """The client says what it can."""
    ls.negotiate(params)


def initialized(ls: StarlingServer, params: types.InitializedParams) -> None:
    """The client is ready for notifications: time to load the model."""
    ls.start_loading()


def did_open(ls: StarlingServer, params: types.DidOpenTextDocumentParams) -> None:
    """A document appears."""
    item = params.text_document
    language = item.language_id
    language_id = language.value if isinstance(language, types.LanguageKind) else language
    _supersede(ls, item.uri)
    ls.documents.open(uri=item.uri, language_id=language_id, version=item.version, text=item.text)


def did_change(ls: StarlingServer, params: types.DidChangeTextDocumentParams) -> None:
    """A document changes; what is being computed for its old text is of no use any more."""
    uri, version = params.text_document.uri, params.text_document.version
    _supersede(ls, uri)
    document = ls.documents.get(uri)
    if document is None:
        return
    for change in params.content_changes:
        if isinstance(change, types.TextDocumentContentChangePartial):
            document.replace(
                _point(change.range.start),
                _point(change.range.end),
                change.text,
                version=version,
            )
        else:
            document.replace_all(change.text, version=version)


def did_close(ls: StarlingServer, params: types.DidCloseTextDocumentParams) -> None:
    """A document disappears."""
    _supersede(ls, params.text_document.uri)
    ls.documents.close(params.text_document.uri)


def did_change_configuration(
    ls: StarlingServer, params: types.DidChangeConfigurationParams
) -> None:
    """The user changed settings."""
    if params.settings is not None:
        ls.configure(params.settings)


async def inline_completion(
    ls: StarlingServer, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """Suggestions at the cursor, or an empty list."""
    try:
        return types.InlineCompletionList(items=await _inline_items(ls, params))
    except Exception as error:
        ls.report_failure("completion", error)
        return types.InlineCompletionList(items=[])


# pygls resolves a command's annotations at run time, so `ls` cannot name a type imported for type
# checkers only.
async def accepted(ls: Any, *arguments: Any) -> None:
    """The user accepted a suggestion; its matches are the argument. Nothing is recorded."""


async def show_prompt(ls: Any, *arguments: Any) -> str | None:
    """Exactly what the model would see at `{"textDocument": {"uri"}, "position"}`."""
    try:
        where = ls.protocol._converter.structure(arguments[0], types.TextDocumentPositionParams)
        document = ls.documents.get(where.text_document.uri)
        if ls.service is None or document is None:
            return None
        at = context.at_cursor(ls.documents, document, _point(where.position), ls.root_uris)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(ls.worker, ls.service.prompt_text, at)
    except Exception as error:
        ls.report_failure("showing the prompt", error)
        return None


async def _inline_items(
    ls: StarlingServer, params: types.InlineCompletionParams
) -> list[types.InlineCompletionItem]:
    uri, point = params.text_document.uri, _point(params.position)
    _supersede(ls, uri)
    document, service = ls.documents.get(uri), ls.service
    if document is None or service is None or not _wanted(ls, document):
        return []
    revision = document.revision
    at = context.at_cursor(ls.documents, document, point, ls.root_uris)
    cancel = ls.running[uri] = threading.Event()
    try:
        if params.context.trigger_kind is types.InlineCompletionTriggerKind.Automatic:
            await asyncio.sleep(ls.settings.debounce_ms / 1000)
        suggestions = await _complete(ls, service, at, cancel)
    except asyncio.CancelledError:
        cancel.set()
        raise
    finally:
        if ls.running.get(uri) is cancel:
            del ls.running[uri]
    unchanged = ls.documents.get(uri) is document and document.revision == revision
    if cancel.is_set() or not unchanged or not suggestions:
        return []
    ls.status.update(verdict=str(suggestions[0].report.verdict))
    return [_to_item(document, point, suggestion) for suggestion in suggestions]


async def _complete(
    ls: StarlingServer,
    service: CompletionService,
    at: context.CursorContext,
    cancel: threading.Event,
) -> tuple[Suggestion, ...]:
    """Runs in the worker; the status says so when it takes long."""
    if cancel.is_set():
        return ()
    loop = asyncio.get_running_loop()
    busy = loop.call_later(BUSY_AFTER_S, lambda: ls.status.update(state=State.BUSY))
    try:
        suggestions = await loop.run_in_executor(ls.worker, service.complete, at, cancel)
        if ls.status.current.state is State.ERROR:
            ls.status.update(state=ls.resting_state(), reason="")
        return suggestions
    finally:
        busy.cancel()
        if ls.status.current.state is State.BUSY:
            ls.status.update(state=ls.resting_state())


def _to_item(
    document: Document, point: Point, suggestion: Suggestion
) -> types.InlineCompletionItem:
    r"""The text keeps ``\n`` line ends whatever the document has: VS Code turns them into the
    document's own, and Neovim splits at ``\n``, so that a ``\r`` would end up in the buffer.
    """
    start = document.clamp(point)
    end = document.forward(start, suggestion.n_replaced_chars)
    return types.InlineCompletionItem(
        insert_text=suggestion.text,
        range=types.Range(start=types.Position(*start), end=types.Position(*end)),
        command=types.Command(
            title="Starling: suggestion accepted",
            command=ACCEPTED_COMMAND,
            arguments=[{"uri": document.uri, **report_to_json(suggestion.report)}],
        ),
    )


def _wanted(ls: StarlingServer, document: Document) -> bool:
    small = document.n_chars <= documents.MAX_DOCUMENT_CHARS
    return small and ls.settings.allows(document.language_id)


def _supersede(ls: StarlingServer, uri: str) -> None:
    """Stops what is being computed for the document."""
    older = ls.running.pop(uri, None)
    if older is not None:
        older.set()


def _point(position: types.Position) -> Point:
    return Point(position.line, position.character)
