"""A request -> the token ids that the model sees, cut to a budget of tokens.

Stateless: the same request gives the same ids, whatever was asked before. Three things keep the
ids stable from key to key, so that the KV cache stays good: the order of the parts (`fim`), a
prefix that is cut from the left in large steps, and a suffix that is cut at a line end and without
what an editor closes by itself. Tokens are
made piece by piece with a cache; the split points are those where the tokenizer splits anyway.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runtime import fim
from runtime.backend import Tokens
from runtime.fim import FimTokens, Order
from runtime.healing import TokenTable
from runtime.other_files import OTHER_FILES_SHARE
from runtime.stopping import Mode
from runtime.text_index import TextIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Text of another file that may help."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FimRequest:
    """Complete between `prefix` and `suffix`: model text, the whole file before and after."""

    prefix: str
    suffix: str
    path: str
    snippets: tuple[Snippet, ...] = ()
    mode: Mode = Mode.LINE
    order: Order | None = None
    """None: the model's own."""
    workspace: TextIndex | None = field(default=None, compare=False)
    """What the prompt has no room for, and whose words are more likely than the model knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is computed, and what the completion must begin with."""

    token_ids: tuple[int, ...]
    pending: bytes
    """Bytes before the cursor that were taken back: the first sampled tokens must spell them."""
    document: tuple[int, ...] = ()
    """The tokens that name the file; none where the model does not see its name."""


# A long prompt is slow on a CPU, and adds little beyond this; snippets come on top.
MAX_FILE_TOKENS = 1024
# Of the file's tokens: what follows the cursor.
_SUFFIX_SHARE = 0.25
# Of a longer path only its end is shown: it would take the room of the file.
_MAX_PATH_CHARS = 160
# Into less room no snippet is squeezed: a line or two tell nothing.
_MIN_SNIPPET_TOKENS = 24
# No more text than this many characters per token of budget is ever tokenized.
_MAX_CHARS_PER_TOKEN = 6
_MAX_CACHED_PIECES = 8192

# A line end, with the blank lines after it, before a line that is not blank. Python counts more
# characters as blank than the split patterns do, so the split points are on the safe side.
_BEFORE_FULL_LINE = re.compile(r"(?<=\n)(?=[^\S\n]*\S)")
# A single line end between two characters that are not blank.
_BEFORE_LEFT_MARGIN = re.compile(r"(?<=\S\n)(?=\S)")

# At the very beginning: what closes, up to the line's end.
_ONLY_CLOSERS = re.compile(r"\A[)\]}\"'`]+[^\S\n]*(?=\n|\Z)")

_PROBE = (
    "import os\n\n\nclass A:\n    x = 1\n\n    def f(self):  \n\t\treturn 2\n   \n\n"
    "# caf\u00e9 \u65e5\u672c\n\x0c\ndef g(a, b):\n    \n    return [\n        a,\n    ]\n\n"
    "if __name__ == '__main__':\n  g(12, 345)  # don't\n\n\n  \n\u3000\n\u00a0x = {}\n}\n)\n\n;\n y"
)


class SplitRule(StrEnum):
    """Where a text may be cut without changing its tokens."""

    FULL_LINES = "full_lines"
    """Before every line that is not blank: Qwen2's pattern and its kin end a token at `\\n`."""
    LEFT_MARGIN = "left_margin"
    """Only between a full line and one at the left margin: GPT-2's pattern and its kin."""
    NOWHERE = "nowhere"
    """SentencePiece: the whole window is one piece."""


class PromptBuilder:
    """Prompts for one model; not to be shared between threads."""

    def __init__(
        self,
        vocabulary: Tokens,
        table: TokenTable,
        *,
        tokens: FimTokens | None,
        order: Order,
    ) -> None:
        """A model without `tokens` cannot be shown what follows the cursor: it gets the prefix."""
        self._vocabulary = vocabulary
        self._table = table
        self._tokens = tokens
        self._order = order
        self._pieces: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self.split_rule = _find_split_rule(vocabulary)

    def build(self, request: FimRequest, *, budget_tokens: int) -> Prompt:
        """The prompt, of at most `budget_tokens`."""
        bos_ids = [] if self._vocabulary.bos_id is None else [self._vocabulary.bos_id]
        if self._tokens is None:
            # Something must stand before the first token that is chosen.
            head_ids = bos_ids or self.tokenize("\n")
            n_file_tokens = min(budget_tokens - len(head_ids), MAX_FILE_TOKENS)
            prefix_ids, pending = self._taken_back(self._prefix_ids(request.prefix, n_file_tokens))
            return Prompt(token_ids=(*head_ids, *prefix_ids), pending=pending)
        n_sentinels = 3
        head_ids = self._file_head(request.path)
        available = budget_tokens - n_sentinels - len(head_ids)
        file_tokens = min(available, MAX_FILE_TOKENS)
        if request.snippets and self._tokens.file_sep_id is not None:
            file_tokens = min(file_tokens, int(available * (1.0 - OTHER_FILES_SHARE)))
        suffix_ids = self._head_ids(
            _steady_suffix(request), max(1, int(file_tokens * _SUFFIX_SHARE))
        )
        prefix_ids = self._prefix_ids(request.prefix, max(1, file_tokens - len(suffix_ids)))
        snippet_ids = self._snippet_ids(request, available - len(suffix_ids) - len(prefix_ids))
        prefix_ids, pending = self._taken_back(prefix_ids)
        token_ids = fim.arrange(
            prefix_ids,
            suffix_ids,
            tokens=self._tokens,
            order=request.order or self._order,
            head_ids=[*bos_ids, *snippet_ids, *head_ids],
        )
        return Prompt(token_ids=tuple(token_ids), pending=pending, document=tuple(head_ids))

    def tokenize(self, text: str) -> list[int]:
        """The same ids as the vocabulary gives, with the pieces that were seen before cached."""
        ids: list[int] = []
        for piece in split(text, self.split_rule):
            cached = self._pieces.get(piece)
            if cached is None:
                cached = tuple(self._vocabulary.tokenize(piece))
                self._pieces[piece] = cached
                if len(self._pieces) > _MAX_CACHED_PIECES:
                    self._pieces.popitem(last=False)
            else:
                self._pieces.move_to_end(piece)
            ids.extend(cached)
        return ids

    def _taken_back(self, prefix_ids: list[int]) -> tuple[list[int], bytes]:
        """The prefix without the tokens that healing spells again, and their bytes."""
        if not self._table.spells_every_byte:
            return prefix_ids, b""
        n_keep, pending = self._table.take_back(prefix_ids)
        return prefix_ids[:n_keep], pending

    def _prefix_ids(self, prefix: str, budget: int) -> list[int]:
        """The end of the prefix, from the first cut after which it fits.

        Cuts lie at the first line start in each stretch of `budget` characters of the file, so the
        window's start stays where it is while about that much is typed.
        """
        step_chars = max(1, budget)
        least_start = max(0, len(prefix) - budget * _MAX_CHARS_PER_TOKEN)
        stretch = -(-least_start // step_chars)
        while True:
            start = _cut_in_stretch(prefix, stretch, step_chars)
            if start >= len(prefix) > 0:
                # One line longer than the budget: its last tokens will do.
                return self.tokenize(prefix[-budget * _MAX_CHARS_PER_TOKEN :])[-budget:]
            ids = self.tokenize(prefix[start:])
            if len(ids) <= budget:
                return ids
            stretch += 1

    def _head_ids(self, whole: str, budget: int) -> list[int]:
        """The head of a suffix or snippet up to the last line end that fits."""
        n_chars = budget * _MAX_CHARS_PER_TOKEN
        text = whole[:n_chars]
        if len(whole) > n_chars:
            text = text[: text.rfind("\n") + 1] or text
        while True:
            ids = self.tokenize(text)
            if len(ids) <= budget:
                return ids
            # Cut to the share that fits, then back to a line end; always shorter than before.
            n_chars = min(len(text) - 1, int(len(text) * budget / len(ids)))
            line_end = text.rfind("\n", 0, n_chars)
            if line_end < 0:
                return ids[:budget]
            text = text[: line_end + 1]

    def _snippet_ids(self, request: FimRequest, budget: int) -> list[int]:
        """Snippets in their order, the one that does not fit cut at a line end; none after it."""
        ids: list[int] = []
        if self._tokens is None or self._tokens.file_sep_id is None:
            return ids
        for snippet in request.snippets:
            head = self._file_head(snippet.path)
            room = budget - len(ids) - len(head)
            if room < _MIN_SNIPPET_TOKENS:
                break
            ids += [*head, *self._head_ids(snippet.text, room)]
        return ids

    def _file_head(self, path: str) -> list[int]:
        if self._tokens is None or self._tokens.file_sep_id is None:
            return []
        shown = path if len(path) <= _MAX_PATH_CHARS else _end_of_path(path)
        return [self._tokens.file_sep_id, *self.tokenize(fim.file_head(shown))]


def _end_of_path(path: str) -> str:
    """From the first folder that is whole, where there is one."""
    end = path[-_MAX_PATH_CHARS:]
    return end.partition("/")[2] or end


def _steady_suffix(request: FimRequest) -> str:
    """What follows the cursor, without brackets and quotes that only close its line.

    Editors put them there when their partner is typed, and take them away when it is deleted. The
    suffix stands early in the prompt, so that each time all behind it would be computed anew. A
    completion is fitted over them anyway (`trim.fit`), and of 115 held-out lines as many came out
    right with them as without.
    """
    if request.mode is Mode.SPAN:
        return request.suffix
    return _ONLY_CLOSERS.sub("", request.suffix, count=1)


def split(text: str, rule: SplitRule) -> Sequence[str]:
    """Pieces of `text` that can be tokenized alone."""
    if rule is SplitRule.NOWHERE or not text:
        return [text] if text else []
    return (_BEFORE_FULL_LINE if rule is SplitRule.FULL_LINES else _BEFORE_LEFT_MARGIN).split(text)


def _cut_in_stretch(text: str, stretch: int, step_chars: int) -> int:
    """The first line start in a stretch of characters; its first character if there is none."""
    start = stretch * step_chars
    if start == 0:
        return 0
    line_end = text.find("\n", start - 1, start + step_chars - 1)
    return start if line_end < 0 else line_end + 1


def _find_split_rule(vocabulary: Tokens) -> SplitRule:
    """The finest rule that gives the tokenizer's own ids on text that would show a difference."""
    whole = vocabulary.tokenize(_PROBE)
    for rule in (SplitRule.FULL_LINES, SplitRule.LEFT_MARGIN):
        pieces = [vocabulary.tokenize(piece) for piece in split(_PROBE, rule)]
        if [token_id for piece in pieces for token_id in piece] == whole:
            return rule
    return SplitRule.NOWHERE
