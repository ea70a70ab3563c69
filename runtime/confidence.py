"""How likely it is that the user keeps a suggestion, and how much of it is worth showing.

The model says of each token how likely it was; their product says how likely it is that all of a
text comes just so. Measured on held-out typing about that share does. Where a model's word is
worth less, a calibration of three numbers mends it (`starling eval confidence`; beta calibration:
Kull, Silva Filho and Flach 2017, section 4).

A line is often sure at its beginning and guessed at its end. So of all heads of a suggestion that
end at a word's border, at a line's end or with it, the one is shown that most keys are expected of.
A whole line may be less sure: it saves more, and takes one look.
Knows tokens' texts and log-probabilities; no model, no editor.
"""

import functools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from runtime import trim
from runtime.completion import Completion, ModelInfo
from runtime.errors import BundleError
from runtime.stopping import StopReason

READING_COST_KEYS = 4.0
"""What it costs to read a suggestion that is wrong, in keys (measured: train/LOG.md)."""
LINE_BONUS_KEYS = 2.0
"""What a right line saves beside its own keys: looking at its rest, and a key for that."""
MIN_HEAD_CHARS = 3
"""A shorter head, without blanks, saves no key worth mentioning."""

# Below this log-probability nothing is told apart.
_LEAST_LOGPROB = -30.0
# Below this a probability is none that a float can hold.
_LEAST_LOGIT = -700.0
# Larger numbers in a calibration are not fitted, but a mistake.
_MOST_WEIGHT = 1e6
# Of a text that was cut by a limit nobody knows whether it would have ended there.
_UNKNOWN_END_LOGPROB = math.log(0.5)
# After these the text ends wherever the model was, in the middle of a word or not.
_TEARING = (StopReason.DEADLINE, StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """logit(probability) = bias + by_sure * log(p) - by_unsure * log(1 - p), with p the model's."""

    bias: float = 0.0
    by_sure: float = 1.0
    by_unsure: float = 1.0

    def __post_init__(self) -> None:
        # Otherwise a surer text could count as a less sure one.
        assert self.by_sure >= 0.0 and self.by_unsure >= 0.0, f"{self=}"

    def probability(self, logprob: float) -> float:
        """Of a text that the model gives this log-probability."""
        log_p = min(max(logprob, _LEAST_LOGPROB), -1e-9)
        log_not_p = math.log(-math.expm1(log_p))
        logit = self.bias + self.by_sure * log_p - self.by_unsure * log_not_p
        return 1.0 / (1.0 + math.exp(-max(logit, _LEAST_LOGIT)))

    def to_json(self) -> str:
        """As it is kept in a file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Inverse of `to_json`; raises BundleError for a file that is none."""
        try:
            values = json.loads(path.read_text("utf-8"))
            return cls(**{name: _weight(value) for name, value in values.items()})
        except (
            OSError, ValueError, TypeError, OverflowError, AttributeError, AssertionError,
            RecursionError,
        ) as error:  # fmt: skip
            raise BundleError(
                f"{path} is no calibration ({error}): delete it, or write it again with "
                "`starling eval confidence --write`"
            ) from error


AS_THE_MODEL_SAYS = Calibration()
"""For models that have none of their own. Our default has none, since one would not fit all places:
with the words of a workspace it is too modest (24.5 % right of 22.5 % promised), in a file alone
too sure (18.4 % of 21.0 %)."""


@functools.lru_cache(maxsize=8)
def least_logprob(calibration: Calibration, min_probability: float) -> float:
    """No text with a lower log-probability is shown by `best_head`; -inf: all may be.

    So nothing that is written after such a text will be shown (`heads`).
    """
    probability = _least_of_lines(min_probability)
    least, most = _LEAST_LOGPROB, 0.0
    if calibration.probability(least) >= probability:
        return -math.inf
    for _ in range(50):
        middle = (least + most) / 2.0
        if calibration.probability(middle) < probability:
            least = middle
        else:
            most = middle
    return least


class Head(NamedTuple):
    """A part of a suggestion, from its beginning."""

    n_chars: int
    probability: float
    """That it is right, and over where it ends."""


def calibration_of(info: ModelInfo) -> Calibration:
    """The one that lies beside the model, or what the model says; raises BundleError."""
    path = calibration_path(info.path)
    return Calibration.read(path) if path.exists() else AS_THE_MODEL_SAYS


def calibration_path(model_path: Path) -> Path:
    """Where a model's own calibration is: ``model.gguf`` -> ``model.confidence.json``.

    A folder of Hugging Face may have a dot in its name, which is no ending.
    """
    return model_path.with_name(f"{model_path.name.removesuffix('.gguf')}.confidence.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A suggestion: as much of a completion as fits at the cursor."""

    text: str
    tokens: tuple[tuple[str, float], ...]
    """What spells it, each with its log-probability; none where the text was changed."""
    end_logprob: float
    """That it ends where it does; of all of it, where there are no tokens."""
    n_replaced_chars: int = 0
    """Characters after the cursor, on its line, that all of it replaces."""

    @classmethod
    def at_cursor(
        cls, completion: Completion, prefix: str, suffix: str, *, path: str
    ) -> Self | None:
        """What of a completion fits between two texts; None: nothing."""
        is_torn = completion.stop_reason in _TEARING
        text = trim.without_torn_end(completion.text) if is_torn else completion.text
        fitted = trim.fit(text, prefix, suffix, path=path)
        if fitted is None:
            return None
        written = cls.of(completion, fitted.text)
        return replace(written, n_replaced_chars=fitted.n_replaced_chars)

    @classmethod
    def of(cls, completion: Completion, fitted: str) -> Self:
        """`fitted` is what is left of the completion's text."""
        start = completion.text.find(fitted)
        if start < 0:
            total = completion.mean_logprob * len(completion.spelled)
            return cls(text=fitted, tokens=(), end_logprob=total)
        end = start + len(fitted)
        return cls(
            text=fitted,
            tokens=tokens_between(completion.spelled, start, end),
            end_logprob=_end_logprob(completion, end),
        )

    def after(self, n_chars: int) -> Self:
        """What is left when its head was typed."""
        return replace(
            self,
            text=self.text[n_chars:],
            tokens=tokens_between(self.tokens, n_chars, len(self.text)),
        )

    def heads(self, calibration: Calibration) -> Iterator[Head]:
        """Those that may be shown, the shortest first; the last one is all of it. None of no text.

        A head leaves what stands after the cursor, so what replaces some of that has none.

        | text           | heads                                                     |
        |----------------|-----------------------------------------------------------|
        | ``foo(bar)``   | ``foo``, ``foo(``, ``foo(bar``, ``foo(bar)`` with its end |
        | ``a = 1↵b = 2``| ``a``, ``a =``, ``a = 1`` with its end, all with its end  |
        """
        if not self.text:
            return
        total, n_chars = 0.0, 0
        n_first_line = _n_first_line(self.text)
        for spelled, logprob in self.tokens:
            total += logprob
            n_chars += len(spelled)
            head, after = self.text[:n_chars], self.text[n_chars : n_chars + 1]
            if self.n_replaced_chars or n_chars >= len(self.text) or not head.strip():
                continue
            # Where a line end follows, the head is a line only with it; some tokenizers put the
            # next line's indentation into the same token.
            is_line = "\n" in spelled[len(spelled.rstrip()) :]
            is_border = n_chars < n_first_line and not (
                _is_of_word(head[-1]) and _is_of_word(after)
            )
            if is_line or is_border:
                yield Head(len(head.rstrip()), calibration.probability(total))
        yield Head(len(self.text), calibration.probability(total + self.end_logprob))


def best_head(candidates: Iterable[Head], text: str, *, min_probability: float) -> Head | None:
    """The head from which most keys are expected to be saved; None: none is sure enough.

    A line, or all of the suggestion, may be shown from the square of the least probability on.
    Accepting takes a key; reading what is wrong costs as much as READING_COST_KEYS. Where the least
    probability is 0 all of the suggestion is wanted, whatever it is.
    """
    best, best_gain = None, 0.0
    for head in candidates:
        if min_probability <= 0.0:
            best = head
            continue
        n_keys = len(text[: head.n_chars].strip())
        is_line = text[head.n_chars : head.n_chars + 1] in ("", "\n")
        least = _least_of_lines(min_probability) if is_line else min_probability
        if head.probability < least or (n_keys < MIN_HEAD_CHARS and not is_line):
            continue
        n_saved = max(1, n_keys - 1) + (LINE_BONUS_KEYS if is_line else 0.0)
        gain = head.probability * n_saved - (1 - head.probability) * READING_COST_KEYS
        if gain > best_gain:
            best, best_gain = head, gain
    return best


def tokens_between(
    tokens: Iterable[tuple[str, float]], start: int, end: int
) -> tuple[tuple[str, float], ...]:
    """What of the tokens stands in this stretch of the text that they spell, in characters."""
    found, at = [], 0
    for text, logprob in tokens:
        shown = text[max(0, start - at) : max(0, end - at)]
        at += len(text)
        if shown:
            found.append((shown, logprob))
    return tuple(found)


def _least_of_lines(min_probability: float) -> float:
    """As sure as two heads that are just sure enough, which would take a look and a key each."""
    return min_probability**2


def _end_logprob(completion: Completion, end_chars: int) -> float:
    """Of what the model wrote after the first `end_chars` characters: a line end, mostly."""
    at = 0
    for text, logprob in completion.spelled:
        if text and at >= end_chars:
            return logprob
        at += len(text)
    if at > end_chars:
        return 0.0  # The last token goes further: it says itself that the line is over.
    is_over = completion.stop_reason is StopReason.END_OF_TEXT
    return completion.end_logprob if is_over else _UNKNOWN_END_LOGPROB


def _n_first_line(text: str) -> int:
    """Characters up to the end of the first line that is not blank."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _is_of_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if not abs(value) <= _MOST_WEIGHT:
        raise ValueError(f"{value!r} is no number from -{_MOST_WEIGHT:g} to {_MOST_WEIGHT:g}")
    return float(value)
