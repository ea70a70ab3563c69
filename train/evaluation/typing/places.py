"""What a model writes at every key of a passage, to ask later what a threshold would have shown.

Recorded once, a passage can be typed again under any calibration and threshold in no time. The
rules are the server's: what fits at the cursor, what is left of a suggestion whose head was typed,
and how much of it is sure (`runtime.confidence`). What the server computes ahead after an accept is
left out.
"""

import math
from dataclasses import dataclass

from runtime import trim
from runtime.confidence import Calibration, Written, best_head
from runtime.engine import Engine, FimRequest
from runtime.sampling import SamplingConfig
from train.evaluation.typing.passages import Document, Passage
from train.evaluation.typing.projects import words_of
from train.evaluation.typing.replay import Answer, next_key

_NOTHING = Written(text="", tokens=(), end_logprob=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A passage, and what was written at each of its keys."""

    passage: Passage
    written: dict[int, Written]
    """By offset in the passage; places where nothing may be completed are left out."""


def record(engine: Engine, passage: Passage) -> Recorded:
    """Asks the model at each key after the first, with the words of the files beside it."""
    document, typed = passage.document, passage.typed
    workspace = words_of(document.others, engine.tokenize) if engine.uses_workspace else None
    written = {}
    at = len(next_key(typed, 0))
    while at < len(typed):
        prefix = document.before + typed[:at]
        if trim.may_complete(document.after):
            mode = trim.choose_mode(prefix, document.after, path=document.path)
            request = FimRequest(
                prefix=prefix,
                suffix=document.after,
                path=document.path,
                mode=mode,
                workspace=workspace,
            )
            (completion,) = engine.complete(request, SamplingConfig(deadline_ms=math.inf))
            fitting = Written.at_cursor(completion, prefix, document.after, path=document.path)
            written[at] = fitting or _NOTHING
        at += len(next_key(typed, at))
    return Recorded(passage=passage, written=written)


class RecordedEditor:
    """A `replay.Editor` that suggests what was recorded, under a threshold."""

    def __init__(
        self, recorded: Recorded, calibration: Calibration, *, min_probability: float
    ) -> None:
        self._recorded = recorded
        self._calibration = calibration
        self._min_probability = min_probability
        self._at = 0
        self._asked: list[int] = []

    def open(self, document: Document) -> None:
        self._at = 0
        self._asked = []

    def insert(self, text: str) -> None:
        self._at += len(text)

    def ask(self) -> Answer:
        written = self._at_hand()
        best = written and best_head(
            written.heads(self._calibration), written.text, min_probability=self._min_probability
        )
        return Answer(text=written.text[: best.n_chars] if written and best else "", latency_ms=0.0)

    def accept(self, answer: Answer, n_chars: int) -> None:
        self.insert(answer.text[:n_chars])

    def _at_hand(self) -> Written | None:
        """The rest of the latest suggestion whose head was typed, or what was written here."""
        typed = self._recorded.passage.typed
        for start in reversed(self._asked):
            written = self._recorded.written[start]
            head = typed[start : self._at]
            if len(written.text) > len(head) and written.text.startswith(head):
                return written.after(len(head))
        if self._at not in self._recorded.written:
            return None
        self._asked.append(self._at)
        return self._recorded.written[self._at]
