"""Which module answers which LSP messages, and what keeps the server in step with the client:
the session's begin, texts, folders and settings.

No exception but a cancellation leaves a handler; the event loop computes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server import code_actions, completion_list, control, inline_completion
from lsp_server.accepted import features as accepted
from lsp_server.explain import features as explain
from lsp_server.questions import to_point
from lsp_server.settings import SECTION

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

# Each has a `register(server)`, which makes its handlers and commands known to pygls.
_FEATURES = (inline_completion, completion_list, control, code_actions, accepted, explain)

# A client that says it can be asked and never answers must not keep a task for ever.
_PULL_TIMEOUT_S = 30.0


def register(server: StarlingServer) -> None:
    """Makes all handlers known to pygls. What is advertised stands in `capabilities`."""
    server.feature(types.INITIALIZE)(initialize)
    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.TEXT_DOCUMENT_DID_SAVE)(did_save)
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(did_change_configuration)
    server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)(did_change_folders)
    for feature in _FEATURES:
        feature.register(server)


def initialize(ls: StarlingServer, params: types.InitializeParams) -> None:
    """The client says what it can."""
    ls.negotiate(params)


async def initialized(ls: StarlingServer, params: types.InitializedParams) -> None:
    """The client is ready: time to load the model, and to ask for settings that it did not send."""
    ls.loading.start()
    if not ls.got_settings:
        await _pull_settings(ls)


def did_open(ls: StarlingServer, params: types.DidOpenTextDocumentParams) -> None:
    """A document appears."""
    item = params.text_document
    language = item.language_id
    language_id = language.value if isinstance(language, types.LanguageKind) else language
    ls.supersede(item.uri)
    ls.documents.open(uri=item.uri, language_id=language_id, version=item.version, text=item.text)
    ls.prefetch.after_open(item.uri)
    _tell(ls, item.uri)


def did_change(ls: StarlingServer, params: types.DidChangeTextDocumentParams) -> None:
    """A document changes; what is being computed for its old text is of no use any more."""
    uri, version = params.text_document.uri, params.text_document.version
    ls.supersede(uri)
    ls.prefetch.after_edit()
    document = ls.documents.get(uri)
    if document is None:
        return
    for change in params.content_changes:
        if isinstance(change, types.TextDocumentContentChangePartial):
            document.replace(
                to_point(change.range.start),
                to_point(change.range.end),
                change.text,
                version=version,
            )
        else:
            document.replace_all(change.text, version=version)
    _tell(ls, uri)


def did_close(ls: StarlingServer, params: types.DidCloseTextDocumentParams) -> None:
    """A document disappears."""
    uri = params.text_document.uri
    ls.supersede(uri)
    ls.documents.close(uri)
    ls.prefetch.after_close(uri)
    _tell(ls, uri)


def did_save(ls: StarlingServer, params: types.DidSaveTextDocumentParams) -> None:
    """A document was written to disk."""
    ls.neighbours.saved()
    ls.prefetch.after_save(params.text_document.uri)


def did_change_folders(ls: StarlingServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """Folders joined or left the workspace; pygls has taken note already."""
    ls.root_uris = tuple(ls.workspace.folders)


async def did_change_configuration(
    ls: StarlingServer, params: types.DidChangeConfigurationParams
) -> None:
    """The user changed settings; clients that send none are asked for them."""
    try:
        if _is_empty(params.settings):
            await _pull_settings(ls)
        else:
            ls.configure(params.settings)
    except Exception as error:
        ls.report_failure("reading the settings", error)


def _tell(ls: StarlingServer, uri: str) -> None:
    for react in ls.on_text:
        react(uri)


def _is_empty(values: object) -> bool:
    """VS Code's client sends null where the settings are to be asked for."""
    return values is None or (isinstance(values, Mapping) and not values)


async def _pull_settings(ls: StarlingServer) -> None:
    """Takes the settings by `workspace/configuration`, where the client offers that."""
    workspace = ls.client_capabilities.workspace
    if workspace is None or not workspace.configuration:
        return
    item = types.ConfigurationItem(section=SECTION)
    try:
        answer = ls.workspace_configuration_async(types.ConfigurationParams(items=[item]))
        (values,) = await asyncio.wait_for(answer, timeout=_PULL_TIMEOUT_S)
        # A client without any settings of ours answers null: those are the defaults.
        ls.configure(values)
    except TimeoutError:
        return  # It goes without.
    except Exception as error:
        ls.report_failure("asking for the settings", error)
