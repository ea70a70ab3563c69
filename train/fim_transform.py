"""Where a document is cut into prefix, middle and suffix, and how the sample is laid out.

Splits after Bavarian et al. 2022 (random characters) and after what an editor asks for: the rest of
a line, whole lines, the tail of an identifier. The layout itself is `runtime.fim.arrange`, the same
code that builds prompts when serving. Parts are tokenized each for itself, so that the model meets
every way in which a cursor can stand inside a word.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from runtime import fim
from train.tokenizer import encode

FIM_TOKENS = fim.own_tokens()
SPM_SHARE = 0.5
MAX_MIDDLE_LINES = 12
_IDENTIFIER = re.compile(r"[^\W\d]\w{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Character offsets: the middle is text[start:end]."""

    start: int
    end: int


def cut_characters(text: str, rng: Random) -> Cut:
    """Two uniform offsets (Bavarian et al. 2022, section 3; StarCoder's own)."""
    start, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    return Cut(start=start, end=end)


def cut_rest_of_line(text: str, rng: Random) -> Cut:
    """From a random column to the end of its line: what a one-line suggestion fills."""
    start = rng.randint(0, len(text))
    return Cut(start=start, end=_line_end(text, start))


def cut_lines(text: str, rng: Random) -> Cut:
    """One to MAX_MIDDLE_LINES whole lines, half of the time with the indentation to be written."""
    start = text.rfind("\n", 0, rng.randint(0, len(text))) + 1
    # Short runs are more common: a cursor on an empty line, a block to be filled.
    n_lines = min(rng.randint(1, MAX_MIDDLE_LINES), rng.randint(1, MAX_MIDDLE_LINES))
    end = start
    for _ in range(n_lines):
        end = min(_line_end(text, end) + 1, len(text))
    end = max(start, end - 1) if text[start:end].endswith("\n") else end
    if rng.random() < 0.5:
        while start < end and text[start] in " \t":
            start += 1
    return Cut(start=start, end=end)


def cut_identifier(text: str, rng: Random) -> Cut:
    """From inside an identifier to the end of it or of its line."""
    found = _IDENTIFIER.search(text, rng.randint(0, len(text)))
    if found is None:
        return cut_rest_of_line(text, rng)
    start = rng.randint(found.start() + 1, found.end() - 1)
    return Cut(start=start, end=found.end() if rng.random() < 0.5 else _line_end(text, start))


_CUTS: tuple[tuple[float, Callable[[str, Random], Cut]], ...] = (
    (0.25, cut_characters),
    (0.30, cut_rest_of_line),
    (0.25, cut_lines),
    (0.20, cut_identifier),
)


def draw_cut(text: str, rng: Random) -> Cut:
    """One of the kinds of cut, by their shares."""
    (cut,) = rng.choices([kind for _, kind in _CUTS], weights=[share for share, _ in _CUTS])
    return cut(text, rng)


def fim_sample(
    text: str,
    head_ids: Sequence[int],
    tokenizer: Tokenizer,
    rng: Random,
    *,
    max_tokens: int,
) -> list[int]:
    """Token ids of one fill-in-the-middle sample of at most `max_tokens`.

    Too long samples (parts tokenized alone are a little longer than the whole) lose the end of
    their suffix, then the start of their prefix; end-of-text goes only with a middle that is longer
    than `max_tokens` by itself.
    """
    cut = draw_cut(text, rng)
    order = fim.Order.SPM if rng.random() < SPM_SHARE else fim.Order.PSM
    prefix_ids = encode(tokenizer, text[: cut.start])
    middle_ids = encode(tokenizer, text[cut.start : cut.end])
    suffix_ids = encode(tokenizer, text[cut.end :])
    n_sentinels = 4
    n_over = (
        len(head_ids) + len(prefix_ids) + len(middle_ids) + len(suffix_ids) + n_sentinels
        - max_tokens
    )  # fmt: skip
    if n_over > 0:
        n_from_prefix = max(0, n_over - len(suffix_ids))
        suffix_ids = suffix_ids[: max(0, len(suffix_ids) - n_over)]
        prefix_ids = prefix_ids[n_from_prefix:]
    prompt = fim.arrange(prefix_ids, suffix_ids, tokens=FIM_TOKENS, order=order, head_ids=head_ids)
    return [*prompt, *middle_ids, FIM_TOKENS.end_of_text_id][:max_tokens]


def plain_sample(text_ids: Sequence[int], head_ids: Sequence[int], *, ends: bool) -> list[int]:
    """Token ids of a left-to-right sample; `ends` when the text reaches the end of its file."""
    end = [FIM_TOKENS.end_of_text_id] if ends else []
    return [*head_ids, *text_ids, *end]


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
