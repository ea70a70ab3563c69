"""An editor that presses the keys of the trace: our server over stdio, as editors start it."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from bench.typing_trace.trace import Moment, Trace
from tests.lsp_client import LspClient

# Who waits for a pause in typing measures the pause.
SETTINGS = {"debounceMs": 0}


class TracedEditor:
    """One server with the files of a trace open. A context manager; leaving it ends the server."""

    def __init__(
        self,
        trace: Trace,
        *,
        bundle: Path | None = None,
        settings: dict[str, object] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Starts the server; it loads its model meanwhile (`client.wait_ready`)."""
        self._trace = trace
        self._round = 0
        self.client = LspClient(bundle=bundle, environment=environment)
        self.client.initialize(
            position_encodings=["utf-32"], settings={**SETTINGS, **(settings or {})}
        )
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.__exit__(*exc_info)

    def press(self, moment: Moment) -> float:
        """One key; milliseconds from writing the change to reading the answer."""
        client, key = self.client, moment.key
        uri = self.uri(key.path)
        started_s = time.perf_counter()
        if key.typed or key.n_deleted:
            client.change(uri, moment.start, moment.end, key.typed)
        request_id = client.request_inline(uri, moment.cursor)
        answer = client.answer(request_id)
        assert "result" in answer, answer
        return (client.arrived_s[request_id] - started_s) * 1e3

    def press_all(self, moments: Iterable[Moment]) -> list[float]:
        """The keys one after the other, each waited for; milliseconds of each."""
        took_ms = [self.press(moment) for moment in moments]
        self.client.messages.clear()  # They would make a long session look for each answer long.
        return took_ms

    def begin_again(self) -> None:
        """Closes the files, and opens them under other names as they were before the typing."""
        self.client.close_all()
        self._round += 1
        self._open()

    def uri(self, path: str) -> str:
        """The name of the document now."""
        return f"file:///trace{self._round}/{path}"

    def _open(self) -> None:
        for path, text in self._trace.files.items():
            self.client.open(self.uri(path), text)
