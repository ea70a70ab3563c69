"""Guards the layouts that training and serving share: one token off, and the answer is noise."""

import pytest

from runtime import fim
from runtime.fim import SPECIAL_TOKENS, Order, arrange, own_tokens


def test_layouts() -> None:
    tokens = own_tokens()
    pre, mid, suf = tokens.prefix_id, tokens.middle_id, tokens.suffix_id
    psm = arrange([100, 101], [200], tokens=tokens, order=Order.PSM, head_ids=[9])
    spm = arrange([100, 101], [200], tokens=tokens, order=Order.SPM, head_ids=[9])
    first = arrange([100, 101], [200], tokens=tokens, order=Order.SUFFIX_FIRST, head_ids=[9])
    none = arrange([100, 101], [200], tokens=tokens, order=Order.NO_MIDDLE, head_ids=[9])
    assert psm == [9, pre, 100, 101, suf, 200, mid]
    assert first == [9, suf, 200, pre, 100, 101, mid]
    assert none == [9, suf, 200, pre, 100, 101]
    assert spm == [9, pre, suf, 200, mid, 100, 101]


@pytest.mark.parametrize("order", list(Order))
def test_empty_parts(order: Order) -> None:
    assert len(arrange([], [], tokens=own_tokens(), order=order)) == (
        2 if order is Order.NO_MIDDLE else 3
    )


def test_special_tokens_are_starcoders() -> None:
    """Published ids of StarCoder's first five; ours are at the same places."""
    assert SPECIAL_TOKENS[:5] == (
        "<|endoftext|>",
        "<fim_prefix>",
        "<fim_middle>",
        "<fim_suffix>",
        "<fim_pad>",
    )
    assert len(set(SPECIAL_TOKENS)) == len(SPECIAL_TOKENS) == 37
    tokens = own_tokens()
    assert SPECIAL_TOKENS[tokens.end_of_text_id] == fim.END_OF_TEXT
    assert tokens.repo_id is not None and SPECIAL_TOKENS[tokens.repo_id] == fim.REPO_NAME
    assert tokens.file_sep_id is not None and SPECIAL_TOKENS[tokens.file_sep_id] == fim.FILE_SEP


def test_file_head() -> None:
    assert fim.file_head("a/b.py") == "a/b.py\n"
