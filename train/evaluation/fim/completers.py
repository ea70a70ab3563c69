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
    followed = ""
    shortest, longest = _MIN_COPY_CHARS, min(_MAX_COPY_CHARS, len(prefix))
    while shortest <= longest:  # Whoever has a match has all shorter ones.
        n_chars = (shortest + longest) // 2
        found = _after_last(prefix[-n_chars:], prefix, (suffix, *others))
        if found is None:
            longest = n_chars - 1
        else:
            followed, shortest = found, n_chars + 1
    return _first_part(followed, suffix, mode)


def _after_last(tail: str, prefix: str, others: Sequence[str]) -> str | None:
    """What follows `tail` in the first text that has it; None: none has."""
    # In the prefix the match is an earlier one: not the end itself, which always is there.
    at = prefix.rfind(tail, 0, len(prefix) - 1)
    if at >= 0:
        return prefix[at + len(tail) :]
    for text in others:
        at = text.rfind(tail)
        if at >= 0:
            return text[at + len(tail) :]
    return None


def _first_part(text: str, suffix: str, mode: Mode) -> str:
    if mode is not Mode.LINE and len(suffix) >= _SUFFIX_HEAD_CHARS:
        end = text.find(suffix[:_SUFFIX_HEAD_CHARS], 0, MAX_MIDDLE_CHARS)
        if end > 0:
            return text[:end]
    return text.split("\n", 1)[0]
