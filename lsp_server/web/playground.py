"""The playground's site: a page that was built from editors/playground, and what it asks for."""

import json
from http import HTTPStatus
from pathlib import Path

from websockets.http11 import Response

from lsp_server.errors import WebServerError
from lsp_server.web.listener import respond

PAGE_FOLDER = Path(__file__).with_name("page")
# What is served, by the last part of the address; nothing else of the disk is.
_PAGE_FILES = {
    "": ("index.html", "text/html"),
    "main.js": ("main.js", "text/javascript"),
    "main.css": ("main.css", "text/css"),
}
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Playground:
    """Holds everything in memory: what is served does not change while it runs."""

    def __init__(self, *, document: Path | None, model_card: Path | None) -> None:
        """`document` is shown in the editor and never written to. Raises WebServerError."""
        missing = [name for name, _ in _PAGE_FILES.values() if not (PAGE_FOLDER / name).is_file()]
        if missing:
            raise WebServerError(
                "the playground's page is not built: run `make page` in Starling's source folder"
            )
        self._answers = {
            name: respond(
                HTTPStatus.OK,
                (PAGE_FOLDER / file_name).read_bytes(),
                content_type,
                Content_Security_Policy=_POLICY,
            )
            for name, (file_name, content_type) in _PAGE_FILES.items()
        }
        card = model_card.read_text("utf-8") if model_card and model_card.is_file() else None
        self._answers["document"] = _json(_document(document) if document else None)
        self._answers["model-card"] = _json(card)

    def answer(self, name: str) -> Response:
        """One of the few things that there are."""
        return self._answers.get(name) or respond(HTTPStatus.NOT_FOUND, b"There is no such page.\n")


def _document(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WebServerError(
            f"{path} is not UTF-8 (byte {error.start + 1}): convert it, for example with iconv"
        ) from error
    except OSError as error:
        raise WebServerError(f"{path} cannot be read ({error.strerror}): check the path") from error
    return {"uri": path.resolve().as_uri(), "text": text}


def _json(values: object) -> Response:
    return respond(HTTPStatus.OK, json.dumps(values).encode(), "application/json")
