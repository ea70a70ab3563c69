"""Who fills a hole: a model through the engine that serves, or the floor that only copies."""

import math
from collections.abc import Callable, Sequence

from runtime.engine import Engine, FimRequest
from runtime.fim import Order
from runtime.sampling import SamplingConfig
from runtime.stopping import MAX_TOKENS, Mode
from train.evaluation.fim.tasks import MAX_MIDDLE_CHARS, FimTask

Completer = Callable[[FimTask], str]

COPY = "copy from context"
"""The name of the floor in every table."""

_MIN_COPY_CHARS = 4
_MAX_COPY_CHARS = 60
# How much of the suffix must come again after a copied text for it to end there.
_SUFFIX_HEAD_CHARS = 8


def model_completer(
    engine: Engine, *, order: Order | None = None, with_other_files: bool = False
) -> Completer:
    """Greedy completion by the engine, without a deadline. None: the model's own order.

    A line may have as many tokens as a block: how many a line needs is the tokenizer's matter, and
    the engine's limit would favour vocabularies of long tokens.
    """
    sampling = SamplingConfig(deadline_ms=math.inf, max_tokens=max(MAX_TOKENS.values()))

    def complete(task: FimTask) -> str:
        request = request_of(task, order=order, with_other_files=with_other_files)
        return engine.complete(request, sampling)[0].text

    return complete


def request_of(task: FimTask, *, order: Order | None, with_other_files: bool) -> FimRequest:
    """What the engine is asked."""
    return FimRequest(
        prefix=task.prefix,
        suffix=task.suffix,
        path=task.path,
        snippets=task.snippets if with_other_files else (),
        mode=task.kind.mode,
        order=order,
    )


def copy_completer(*, with_other_files: bool = False) -> Completer:
    """The floor: what followed the longest earlier match of the text before the cursor."""

    def complete(task: FimTask) -> str:
        others = [snippet.text for snippet in task.snippets] if with_other_files else []
        return copy_from_context(task.prefix, task.suffix, mode=task.kind.mode, others=others)

    return complete


def copy_from_context(
    prefix: str, suffix: str, *, mode: Mode = Mode.LINE, others: Sequence[str] = ()
) -> str:
    """What follows the last longest match of the prefix's end in the file and in `others`.

    It ends with its line; outside `Mode.LINE` where the text after the cursor comes again, if it
    does.
    """
    for n_chars in range(min(_MAX_COPY_CHARS, len(prefix)), _MIN_COPY_CHARS - 1, -1):
        tail = prefix[-n_chars:]
        for text in (prefix, suffix, *others):
            # In the prefix the match is an earlier one: not the end itself, which always is there.
            at = text.rfind(tail, 0, len(text) - 1) if text is prefix else text.rfind(tail)
            if at >= 0:
                return _first_part(text[at + len(tail) :], suffix, mode)
    return ""


def _first_part(text: str, suffix: str, mode: Mode) -> str:
    if mode is not Mode.LINE and len(suffix) >= _SUFFIX_HEAD_CHARS:
        end = text.find(suffix[:_SUFFIX_HEAD_CHARS], 0, MAX_MIDDLE_CHARS)
        if end > 0:
            return text[:end]
    return text.split("\n", 1)[0]
