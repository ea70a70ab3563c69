"""The model's way into memory and out of it: loading, idle unloading, progress for the client.

A model that could not be loaded is tried again when somebody asks and its file has changed, or some
time has passed. Loading happens in the server's one worker thread; requests are answered empty
meanwhile. All else runs in the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from runtime.bundle import MODEL_FILE, default_bundle_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from lsp_server.server import StarlingServer
    from lsp_server.service import CompletionService
    from lsp_server.settings import Settings

logger = logging.getLogger(__name__)

ONLY_LEFT_TO_RIGHT = "this model sees only what stands before the cursor"
COMPILING = "compiling for this machine, which takes up to a minute and happens once"

# What failed may work by itself later: memory is free again, a network drive is back.
RETRY_AFTER_S = 15.0
# A request that brings the model back waits so long for it, and is answered empty after that.
PATIENCE_S = 1.0

# Size and time of change of what is loaded; () where there is nothing.
_Stamp = tuple[int, ...]


class ModelLoading:
    """Loads the model that the settings name, and frees it when nobody has asked for long."""

    def __init__(self, server: StarlingServer) -> None:
        self.error = ""
        """Why there is no model; one sentence."""
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self._is_unloaded = False
        self._is_returning = False
        self._failed_at_s = 0.0
        self._failed_stamp: _Stamp = ()
        self._last_touch_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_begun(self) -> bool:
        """False until the client has said that it is ready for notifications."""
        return self._task is not None

    @property
    def is_going_on(self) -> bool:
        """No model yet, or another one is on its way."""
        return self._server.service is None and not self._is_unloaded

    @property
    def idle_s(self) -> float:
        """Since somebody asked, or the model came."""
        return asyncio.get_running_loop().time() - self._last_touch_s

    def start(self) -> None:
        """Loads the model of the current settings; what is being computed is given up."""
        self._server.stop_computing()
        self._is_returning, self._is_unloaded = self._is_unloaded, False
        self._task = asyncio.get_running_loop().create_task(self._load(self._task))

    def touch(self) -> None:
        """Somebody asks: the model stays in memory, or comes back."""
        loop = asyncio.get_running_loop()
        self._last_touch_s = loop.time()
        self._server.kernel_making.touch()
        if self._is_unloaded or self._may_work_now():
            self.start()
        elif self._timer is None:
            self.watch_idleness()

    async def model_that_returns(self) -> CompletionService | None:
        """The model that left memory for a while, if it is back soon; None: there is none."""
        task = self._task
        if self._is_returning and task is not None:
            await asyncio.wait([task], timeout=PATIENCE_S)
        return self._server.service

    def watch_idleness(self) -> None:
        """Sets the clock that frees the model, by the current settings."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        minutes = self._server.settings.unload_after_minutes
        if minutes is None or self._server.service is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._last_touch_s + minutes * 60 - loop.time()
        if left_s > 0:
            self._timer = loop.call_later(left_s, self.watch_idleness)
        else:
            self._unload(minutes)

    def _unload(self, minutes: float) -> None:
        service, self._server.service = self._server.service, None
        if service is None:
            return
        self._server.stop_computing()
        self._is_unloaded = True
        self._server.worker.submit(service.close)
        reason = f"the model left memory after {minutes:g} idle minutes; a request brings it back"
        self._server.status.update(state=self._server.resting_state(), reason=reason)

    async def _load(self, earlier: asyncio.Task[None] | None) -> None:
        """`earlier` may still load a model, which nobody waits for any more."""
        server = self._server
        old, server.service, self.error = server.service, None, ""
        server.status.update(
            state=server.resting_state(), model=None, reason="", verdict=None, source=None
        )
        # Two models may not fit into memory: the old ones go first, in the thread that used them.
        if old is not None:
            server.worker.submit(old.close)
        if earlier is not None:
            await asyncio.wait([earlier])
        if self._is_superseded():
            return
        try:
            service = await self._opened(server.settings)
        except Exception as error:
            if not self._is_superseded():
                self._fail(error)
            return
        if self._is_superseded():
            server.worker.submit(service.close)
        else:
            self._take(service)

    def _may_work_now(self) -> bool:
        """Whether loading failed, and there is reason to hope."""
        if not self.error:
            return False
        is_long_ago = self._last_touch_s - self._failed_at_s >= RETRY_AFTER_S
        return is_long_ago or _stamp_of(self._server.settings) != self._failed_stamp

    def _is_superseded(self) -> bool:
        """Whether the user chose another model since the running task began."""
        return self._task is not asyncio.current_task()

    async def _opened(self, settings: Settings) -> CompletionService:
        loop = asyncio.get_running_loop()

        def say(reason: str) -> None:
            loop.call_soon_threadsafe(lambda: self._server.status.update(reason=reason))

        opening = loop.run_in_executor(self._server.worker, _open_service, settings, say)
        progress = loop.create_task(_show_progress(self._server, opening))
        try:
            return await opening
        finally:
            await asyncio.wait([progress])

    def _fail(self, error: Exception) -> None:
        self.error = str(error) if _is_sentence(error) else f"no model: {error!r}"
        self._failed_at_s = asyncio.get_running_loop().time()
        self._failed_stamp = _stamp_of(self._server.settings)
        logger.error("%s", self.error)
        self._server.status.update(state=self._server.resting_state(), reason=self.error)

    def _take(self, service: CompletionService) -> None:
        server = self._server
        service.configure(server.settings)
        server.service = service
        self._last_touch_s = asyncio.get_running_loop().time()
        self.watch_idleness()
        if server.neighbours.latest is not None:
            service.look_around(server.neighbours.latest)
        server.prefetch.after_load()
        server.kernel_making.touch()
        server.status.update(
            state=server.resting_state(),
            reason="" if service.engine.info.fim else ONLY_LEFT_TO_RIGHT,
            model=service.model_name,
            tokens_per_second=None,
            hit_rate=None,
        )


async def _show_progress(
    server: StarlingServer, opening: asyncio.Future[CompletionService]
) -> None:
    """Work-done progress, for clients that show it, from their consent to the end of loading."""
    window = server.client_capabilities.window
    if window is None or not window.work_done_progress:
        return
    token = str(uuid.uuid4())
    progress = server.work_done_progress
    consent = asyncio.ensure_future(progress.create_async(token))
    both: list[asyncio.Future[Any]] = [consent, opening]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not consent.done():
        consent.cancel()
        return
    if opening.done() or consent.cancelled() or consent.exception() is not None:
        return
    progress.begin(token, types.WorkDoneProgressBegin(title="Starling: loading the model"))
    await asyncio.wait([opening])
    progress.end(token, types.WorkDoneProgressEnd())


def _stamp_of(settings: Settings) -> _Stamp:
    """Changes when the model's file does: looks at its name only."""
    path = settings.bundle_path or default_bundle_directory()
    try:
        stat = (path / MODEL_FILE if path.is_dir() else path).stat()
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns


def _open_service(settings: Settings, say: Callable[[str], None]) -> CompletionService:
    """Runs in the worker, which thus also pays for the imports. `say` is told what takes long."""
    from lsp_server.opening import open_service

    def say_if_it_compiles() -> None:
        from runtime.kernels import must_be_compiled

        if must_be_compiled():
            say(COMPILING)

    return open_service(settings, say_if_it_compiles)


def _is_sentence(error: Exception) -> bool:
    """Whether the message was written for users: errors from our own `errors` modules."""
    return any(base.__module__.endswith(".errors") for base in type(error).__mro__)
