"""Guards the cursor inside a word: what the user typed must stand, and the word must go on from it.

A failure would look like `retu|` completed to `returreturn`.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine import Engine, FimRequest, Mode, SamplingConfig, StopReason
from runtime.fim import TRAINED_ORDERS, Order
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
@settings(max_examples=300)
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


DOCUMENT = (
    'import os\n\n\nclass Reader:\n    """Reads caf\u00e9s \u65e5\u672c\U0001f600."""\n\n'
    "    def read_all(self, limit=1250, name='d\u00e9j\u00e0'):\n"
    "        return self.path.joined_name + 3.14\n"
)


@pytest.fixture(scope="module")
def engine(tiny_gguf: Path) -> Iterator[Engine]:
    with Engine.load(tiny_gguf, n_prefill_threads=1) as engine:
        yield engine


@given(st.integers(0, len(DOCUMENT)), st.integers(0, 999), st.sampled_from(TRAINED_ORDERS))
@settings(max_examples=60)
def test_what_is_written_continues_the_documents_bytes(
    engine: Engine, at: int, seed: int, order: Order
) -> None:
    """Inside identifiers, strings, numbers and comments, before and after any character."""
    prefix = DOCUMENT[:at]
    request = FimRequest(
        prefix=prefix, suffix=DOCUMENT[at:], path="a.py", mode=Mode.SPAN, order=order
    )
    sampling = SamplingConfig(temperature=1.0, seed=seed, max_tokens=3, deadline_ms=60_000)
    (done,) = engine.complete(request, sampling)
    spelled, before, text = (
        engine.detokenize(done.token_ids), prefix.encode(), done.text.encode()
    )  # fmt: skip
    # What stands in the document comes first, then the text, then at most half a character.
    assert any(
        before.endswith(spelled[:n])
        and spelled[n:].startswith(text)
        and (done.stop_reason is not StopReason.MAX_TOKENS or len(spelled) - n - len(text) < 4)
        for n in range(len(spelled) + 1)
    )


def test_healing_takes_less_than_it_may() -> None:
    """A vocabulary of 49,152: 0.3 ms at most, here three times that for a busy machine."""
    rng = random.Random(0)
    words = {bytes([value]) for value in range(256)}
    while len(words) < 49_152:
        letters = "".join(rng.choice("etaoinshrdlu_") for _ in range(rng.randrange(1, 9)))
        words.add((rng.choice(["", " "]) + letters).encode())
    pieces = tuple(words)
    table = TokenTable(pieces, np.zeros(len(pieces), np.bool_))
    for pending in (b" ", b" t", b" tion", b"e", b"\xe6", b"    "):
        times_ms = []
        for _ in range(30):
            started_s = time.thread_time()
            table.allowed_ids(pending)
            times_ms.append(1000 * (time.thread_time() - started_s))
        assert min(times_ms) < 0.3 and sorted(times_ms)[15] < 0.9
