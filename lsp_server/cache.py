"""Remembers what was suggested, so that typing the head of a suggestion costs no tokens.

Most keys after a good suggestion spell it. The rest of that text is then still the answer, as long
as nothing after the cursor changed. "Nothing to suggest" is remembered too, for the very same
place. Pure text: it knows no document, model or time.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from lsp_server.suggestion import Suggestion
from runtime.confidence import tokens_between
from runtime.stopping import StopReason

# An entry is two references to texts of a document plus a few lines; users go back to at most the
# last few places. llama.vim keeps 250 of a far smaller kind.
MAX_ENTRIES = 64
# Entries of huge documents are few, because their texts are copies: at most 16 MB of ASCII.
MAX_TOTAL_CHARS = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedThrough:
    """What is left of remembered suggestions after the user typed the head of them."""

    suggestions: tuple[Suggestion, ...]
    """Whole, as remembered, best first; only those that begin with what was typed."""
    n_typed_chars: int


@dataclass(frozen=True, slots=True)
class _Entry:
    uri: str
    prefix: str
    suffix: str
    suggestions: tuple[Suggestion, ...]
    n_asked: int
    is_unfinished: bool
    min_logprob: float

    @property
    def n_chars(self) -> int:
        return len(self.prefix) + len(self.suffix)


class SuggestionCache:
    """Least recently used suggestions; a hit needs an equal suffix. Not thread-safe."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._next_id = 0
        self._n_chars = 0

    def __len__(self) -> int:
        return len(self._entries)

    def remember(
        self,
        uri: str,
        prefix: str,
        suffix: str,
        suggestions: tuple[Suggestion, ...],
        *,
        n_asked: int = 1,
        is_unfinished: bool = False,
        min_logprob: float = -math.inf,
    ) -> None:
        """`suggestions` are all that came when `n_asked` were wanted between the two texts.

        Those that are unfinished are for who types their head; who asks again at the same place
        deserves a new answer, which the model has read most of the prompt for. Nothing less likely
        than `min_logprob` was written.
        """
        entry = _Entry(uri, prefix, suffix, suggestions, n_asked, is_unfinished, min_logprob)
        self._entries[self._next_id] = entry
        self._next_id += 1
        self._n_chars += entry.n_chars
        while len(self._entries) > 1 and (
            len(self._entries) > self._max_entries or self._n_chars > MAX_TOTAL_CHARS
        ):
            _, oldest = self._entries.popitem(last=False)
            self._n_chars -= oldest.n_chars

    def typed_through(
        self,
        uri: str,
        prefix: str,
        suffix: str,
        *,
        n_asked: int = 1,
        min_logprob: float = -math.inf,
    ) -> TypedThrough | None:
        """The latest suggestions that the text before the cursor has begun to spell.

        Only what came when at least `n_asked` were wanted, and all down to `min_logprob`; None is a
        miss.
        """
        for entry_id, entry in reversed(self._entries.items()):
            n_typed_chars = len(prefix) - len(entry.prefix)
            if (
                n_typed_chars < 0
                or entry.n_asked < n_asked
                or entry.min_logprob > min_logprob
                or entry.uri != uri
                or entry.suffix != suffix
                or not prefix.startswith(entry.prefix)
            ):
                continue
            typed = prefix[len(entry.prefix) :]
            fitting = tuple(
                suggestion
                for suggestion in entry.suggestions
                if len(suggestion.text) > n_typed_chars
                and suggestion.text.startswith(typed)
                and not _may_go_on(suggestion, n_typed_chars, min_logprob)
            )
            if fitting if typed else not entry.is_unfinished:
                self._entries.move_to_end(entry_id)
                return TypedThrough(suggestions=fitting, n_typed_chars=n_typed_chars)
        return None

    def clear(self) -> None:
        """Forgets everything, after settings or the model changed."""
        self._entries.clear()
        self._n_chars = 0


def _may_go_on(suggestion: Suggestion, n_typed_chars: int, min_logprob: float) -> bool:
    """Whether more would have been written, had it been known that the head would be typed.

    What was typed is not doubtful any more, and may have been all that was.
    """
    if suggestion.stop_reason != StopReason.DOUBT:
        return False
    rest = tokens_between(suggestion.tokens, n_typed_chars, len(suggestion.text))
    total = sum(logprob for _, logprob in rest) if rest else suggestion.end_logprob
    return total >= min_logprob
