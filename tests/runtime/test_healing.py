"""Guards the cursor inside a word: what the user typed must stand, and the word must go on from it.

A failure would look like `retu|` completed to `returreturn`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.healing import MAX_TAKEN_BACK_BYTES, TokenTable

PIECES = (
    b"<end>", b" ret", b" return", b"u", b"rn", b"foo", b".", b".foo", b"\n", b":\n", b"    ",
    b" ", b"\xe6\x97", b"\xa5", b"\xe6\x97\xa5", b"1", b"_", b"_na", b"me", b"", b"\xff",
    b"\xff\xff",
    *(bytes([value]) for value in range(256)),
)  # fmt: skip
SPECIAL = np.array([piece == b"<end>" for piece in PIECES])
TABLE = TokenTable(PIECES, SPECIAL)


def ids_of(*pieces: bytes) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


@given(st.binary(min_size=1, max_size=6) | st.sampled_from([p for p in PIECES if p]))
@settings(max_examples=300, deadline=None)
def test_allowed_ids_are_those_of_the_definition(pending: bytes) -> None:
    expected = [
        token_id
        for token_id, piece in enumerate(PIECES)
        if piece
        and not SPECIAL[token_id]
        and (piece.startswith(pending) or pending.startswith(piece))
    ]
    assert sorted(TABLE.allowed_ids(pending).tolist()) == expected


@pytest.mark.parametrize(
    ("pieces", "taken"),
    [
        ((b" ret", b"u"), b" retu"),  # the whole word, not its last piece
        ((b"foo", b".", b"foo"), b"foo"),
        ((b"foo", b".foo"), b".foo"),
        ((b"foo", b"_na", b"me"), b"_name"),
        ((b"foo", b"1"), b"1"),  # digits stand alone
        ((b":\n",), b""),  # no token reaches over a line end
        ((b"\n", b"    "), b"    "),
        ((b"\xe6\x97", b"\xa5"), b"\xe6\x97\xa5"),  # both halves of a character
        ((), b""),
    ],
)
def test_take_back(pieces: tuple[bytes, ...], taken: bytes) -> None:
    ids = ids_of(*pieces)
    n_keep, pending = TABLE.take_back(ids)
    assert pending == taken
    assert b"".join(PIECES[i] for i in ids[:n_keep]) + pending == b"".join(pieces)


def test_take_back_is_bounded() -> None:
    n_keep, pending = TABLE.take_back(ids_of(*[b"foo"] * 50))
    assert 0 < len(pending) <= MAX_TAKEN_BACK_BYTES
    assert n_keep == 50 - len(pending) // 3


def test_a_vocabulary_without_all_bytes_is_known() -> None:
    assert TABLE.spells_every_byte
    assert not TokenTable((b"a", b"b"), np.zeros(2, np.bool_)).spells_every_byte
