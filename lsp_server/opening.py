"""How a completion service comes to be: refused where it would not fit, and imported only then."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lsp_server.service import CompletionService
    from lsp_server.settings import Settings


def open_service(
    settings: Settings, before_loading: Callable[[], None] = lambda: None
) -> CompletionService:
    """As `CompletionService.open`, but the first to import numpy, llama.cpp, and numba or the
    library of what it compiled.

    `before_loading` is called once it is known that there is room for them.
    """
    from runtime.bundle import default_bundle_directory
    from runtime.room import check_room

    check_room(settings.bundle_path or default_bundle_directory())
    from lsp_server.kernel_library import take_kernels_from_library

    with no_collection():
        take_kernels_from_library()
        before_loading()
        from lsp_server.service import CompletionService

    return CompletionService.open(settings)


@contextmanager
def no_collection() -> Iterator[None]:
    """For imports: they make many objects and hardly garbage, and looking for it is a tenth of the
    time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
