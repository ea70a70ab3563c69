"""How a completion service comes to be: refused where it would not fit, and imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lsp_server.service import CompletionService
    from lsp_server.settings import Settings


def open_service(
    settings: Settings, before_loading: Callable[[], None] = lambda: None
) -> CompletionService:
    """As `CompletionService.open`, but the first to import numpy, numba and llama.cpp.

    `before_loading` is called once it is known that there is room for them.
    """
    from runtime.bundle import default_bundle_directory
    from runtime.room import check_room

    check_room(settings.bundle_path or default_bundle_directory())
    before_loading()
    from lsp_server.service import CompletionService

    return CompletionService.open(settings)
