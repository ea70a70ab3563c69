"""`textDocument/codeAction`: what the features offer, put together.

pygls takes one handler for each method; a feature appends its own function to
`server.code_action_offers` when it is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lsprotocol import types

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

CodeActionOffer = Callable[[Any, types.CodeActionParams], list[types.CodeAction]]


def register(server: StarlingServer) -> None:
    """Makes the handler known to pygls."""
    kinds = [types.CodeActionKind.QuickFix, types.CodeActionKind.Source]
    options = types.CodeActionOptions(code_action_kinds=kinds)
    server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)(code_actions)


def code_actions(ls: StarlingServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    """All actions of the kinds that the client wants."""
    try:
        offered = [action for offer in ls.code_action_offers for action in offer(ls, params)]
    except Exception as error:
        ls.report_failure("listing actions", error)
        return []
    return [action for action in offered if _is_wanted(action.kind, params.context.only)]


def _is_wanted(kind: str | None, only: object) -> bool:
    """Kinds are hierarchical: who asks for ``source`` also wants ``source.explain``."""
    if not isinstance(only, list | tuple) or not only:
        return True
    name = _name(kind)
    return any(name == _name(one) or name.startswith(_name(one) + ".") for one in only)


def _name(kind: object) -> str:
    return str(kind.value if isinstance(kind, types.CodeActionKind) else kind or "")
