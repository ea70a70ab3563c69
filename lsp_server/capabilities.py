"""What the server offers, as the JSON that `initialize` is answered with: the one home of it.

Plain dictionaries on purpose: importing the protocol's types takes longer than an editor should
wait for its first answer (see `greeting`). pygls' own idea of our capabilities is not sent.
"""

from collections.abc import Mapping
from typing import Any

from lsp_server.version import starling_version

COMMANDS: tuple[str, ...] = (
    "starling.accepted",
    "starling.showPrompt",
    "starling.explain",
    "starling.matches",
    "starling.pause",
    "starling.resume",
    "starling.models",
    "starling.useModel",
    "starling.status",
    "starling.insertNotice",
    "starling.addToNotices",
    "starling.ignoreSource",
    "starling.undoAccept",
)
POSITION_ENCODINGS = ("utf-8", "utf-16", "utf-32")

_INCREMENTAL_SYNC = 2
Json = Mapping[str, Any]


def initialize_result(params: Json) -> dict[str, Any]:
    """The answer to `initialize` with these parameters; TypeError where they are no parameters."""
    client = params.get("capabilities")
    if not isinstance(client, Mapping):
        raise TypeError("initialize without capabilities")
    capabilities: dict[str, Any] = {
        "positionEncoding": position_encoding(client),
        "textDocumentSync": {
            "openClose": True,
            "change": _INCREMENTAL_SYNC,
            "save": {"includeText": False},
        },
        "inlineCompletionProvider": {},
        "codeActionProvider": {"codeActionKinds": ["quickfix", "source"]},
        "executeCommandProvider": {"commands": list(COMMANDS)},
        "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
    }
    if not knows_inline_completion(client):
        capabilities["completionProvider"] = {}
    if wants_hover(params.get("initializationOptions")):
        capabilities["hoverProvider"] = True
    return {
        "capabilities": capabilities,
        "serverInfo": {"name": "starling", "version": starling_version()},
    }


def position_encoding(client: Json) -> str:
    """The first that the client offers of those that we know; LSP's default is UTF-16."""
    offered = _value_at(client, "general", "positionEncodings") or ()
    return next((one for one in offered if one in POSITION_ENCODINGS), "utf-16")


def knows_inline_completion(client: Json) -> bool:
    """Whether the client will ask for inline completions; others get them as list items."""
    return isinstance(_value_at(client, "textDocument", "inlineCompletion"), Mapping)


def wants_hover(options: object) -> bool:
    """Whether the settings of `initialize` turn on explanations by hovering."""
    if isinstance(options, Mapping) and isinstance(options.get("starling"), Mapping):
        options = options["starling"]
    return isinstance(options, Mapping) and options.get("hoverExplains") is True


def _value_at(values: Json, *keys: str) -> Any:
    found: Any = values
    for key in keys:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found
