"""Where a document is cut into prefix, middle and suffix, and how the sample is laid out.

Splits after Bavarian et al. 2022 (random characters), after what an editor asks for (the rest of a
line, whole lines, the tail of an identifier), and at syntax nodes: bodies, conditions, arguments,
docstrings (AST-FIM, Gong et al. 2025, arXiv:2506.00204). The layout itself is
`runtime.fim.arrange`, the same code that builds prompts when serving. Parts are tokenized each for
itself, so that the model meets every way in which a cursor can stand inside a word.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from runtime import fim
from train.samples import syntax_nodes
from train.samples.syntax_nodes import NodeKind
from train.samples.tokenizer import encode

FIM_TOKENS = fim.own_tokens()
SPM_SHARE = 0.5
MAX_MIDDLE_LINES = 12
N_SENTINELS = 4
"""Special tokens of a fill-in-the-middle sample: three sentinels and the end of text."""
CUT_VERSION = 3
"""Raise it whenever the same corpus and seed give other samples. 2: cuts at syntax nodes. 3: rows
are planned before they are made, and show more of other files."""
SYNTAX_SHARE = 1 / 3
"""Share of samples that are cut at a syntax node, where the text has one. AST-FIM gained up to 5
points over random characters on standard infilling tasks. The other cuts share the rest as before,
because cursors stand inside words and lines too: a model that was trained on whole lines alone
filled 1.5 % of random spans, one trained on characters 32 % (Bavarian et al. 2022)."""
MAX_NODE_SHARE = 0.5
"""Longest node to cut out, of the whole text: there must be something to conclude it from."""
NODE_WEIGHTS: dict[NodeKind, float] = {
    NodeKind.DOCSTRING: 0.25,
    NodeKind.COMMENT: 0.05,
    NodeKind.BODY: 0.20,
    NodeKind.BLOCK: 0.15,
    NodeKind.CONDITION: 0.10,
    NodeKind.PARAMETERS: 0.05,
    NodeKind.ARGUMENTS: 0.10,
    NodeKind.STRING: 0.05,
    NodeKind.STATEMENT: 0.05,
}
"""Weights of the kinds that a text has. Blocks, conditions and calls are SAFIM's three tasks (Gong
et al. 2024, arXiv:2403.04814), bodies what an editor asks for after a signature. Not each text
has a docstring: with this weight about a tenth of the cut nodes are one."""
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


def cut_syntax_node(text: str, rng: Random, language: str | None) -> Cut | None:
    """One syntax node, half of the time with the indentation to be written; None without nodes.

    A node that reaches the end of the text is left out: it may go on behind it, and the model must
    not learn to stop in the middle of a function.
    """
    text_end = len(text.rstrip())
    of_kind: dict[NodeKind, list[syntax_nodes.NodeSpan]] = {}
    for span in syntax_nodes.spans(text, language):
        if span.end < text_end and span.end - span.start <= MAX_NODE_SHARE * len(text):
            of_kind.setdefault(span.kind, []).append(span)
    if not of_kind:
        return None
    (kind,) = rng.choices(list(of_kind), weights=[NODE_WEIGHTS[kind] for kind in of_kind])
    span = rng.choice(of_kind[kind])
    start = span.start
    if rng.random() < 0.5:
        # A body is also asked for right behind its colon or bracket, on the line before.
        spaces = " \t\r\n" if kind in (NodeKind.BODY, NodeKind.BLOCK) else " \t"
        start = len(text[:start].rstrip(spaces))
    return Cut(start=start, end=span.end)


_CUTS: tuple[tuple[float, Callable[[str, Random], Cut]], ...] = (
    (0.25, cut_characters),
    (0.30, cut_rest_of_line),
    (0.25, cut_lines),
    (0.20, cut_identifier),
)
"""Shares of what is not cut at a syntax node."""


def draw_cut(text: str, rng: Random, language: str | None) -> Cut:
    """One of the kinds of cut, by their shares; `language` as `syntax_nodes.grammar_of` says it."""
    if rng.random() < SYNTAX_SHARE:
        cut_node = cut_syntax_node(text, rng, language)
        if cut_node is not None:
            return cut_node
    (cut,) = rng.choices([kind for _, kind in _CUTS], weights=[share for share, _ in _CUTS])
    return cut(text, rng)


def samples_identity() -> dict[str, object]:
    """What decides samples beside recipe, corpus and tokenizer: a run continues only with it."""
    return {"cuts": CUT_VERSION, "parsers": syntax_nodes.versions()}


def fim_sample(
    text: str,
    head_ids: Sequence[int],
    tokenizer: Tokenizer,
    rng: Random,
    *,
    max_tokens: int,
    language: str | None = None,
) -> list[int]:
    """Token ids of one fill-in-the-middle sample of at most `max_tokens`.

    `language` of the text as `syntax_nodes.grammar_of` says it; without one there are no cuts at
    syntax nodes. Raises TrainError when its grammar is not installed.

    Too long samples (parts tokenized alone are a little longer than the whole) lose the end of
    their suffix, then the start of their prefix; end-of-text goes only with a middle that is longer
    than `max_tokens` by itself.
    """
    cut = draw_cut(text, rng, language)
    order = fim.Order.SPM if rng.random() < SPM_SHARE else fim.Order.PSM
    prefix_ids = encode(tokenizer, text[: cut.start])
    middle_ids = encode(tokenizer, text[cut.start : cut.end])
    suffix_ids = encode(tokenizer, text[cut.end :])
    n_over = (
        len(head_ids) + len(prefix_ids) + len(middle_ids) + len(suffix_ids) + N_SENTINELS
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
