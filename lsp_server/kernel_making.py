"""Has the library of kernels made (`kernel_build`) in a process of its own, while nobody asks.

Once in a session, and only where numba had to be imported: the next one then need not. For the
event loop's thread.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from lsp_server.kernel_library import REPOSITORY, is_wanted

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

# Nobody pauses so long in the middle of typing.
IDLE_AFTER_S = 20.0


class KernelMaking:
    """At most one such process."""

    def __init__(self, server: StarlingServer) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """Somebody asks, or a model is there: its kernels are compiled, and it will be idle."""
        if self._task is None and self._server.service is not None and is_wanted():
            self._task = asyncio.get_running_loop().create_task(self._make_when_idle())

    async def _make_when_idle(self) -> None:
        while (left_s := IDLE_AFTER_S - self._server.loading.idle_s) > 0:
            await asyncio.sleep(left_s)
        if "numba" not in sys.modules:
            self._task = None  # It may be needed for what is asked later.
            return
        from lsp_server.kernel_build import can_be_made, command

        if not can_be_made():
            return
        try:
            process = await asyncio.create_subprocess_exec(
                *command(),
                cwd=REPOSITORY,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return  # No more processes here: numba serves on.
        try:
            await process.wait()
        except asyncio.CancelledError:
            process.kill()  # The session ends; what is left is removed by the next one.
            raise
