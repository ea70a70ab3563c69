"""Token healing: a cursor inside a token is moved back to the token's start.

``x = retu|`` is tokenized as `` ret`` ``u``, a pair that the model hardly ever saw; `` return`` is
one token. So the last word's tokens are taken back, and the first sampled tokens must spell its
bytes: each either starts with what is still to be spelled, or is a head of it. Knows token bytes
only; works in bytes, so a token that ends inside a character is nothing special.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Longer words are healed at their end only: each token taken back may cost one more decode step.
MAX_TAKEN_BACK_BYTES = 24


class TokenTable:
    """The vocabulary in byte order: which tokens can spell a given text."""

    def __init__(self, pieces: Sequence[bytes], is_special: NDArray[np.bool_]) -> None:
        self._pieces = pieces
        ordinary = [i for i, piece in enumerate(pieces) if piece and not is_special[i]]
        ordinary.sort(key=lambda token_id: pieces[token_id])
        self._sorted_ids = np.array(ordinary, np.int64)
        self._sorted_pieces = [pieces[token_id] for token_id in ordinary]
        self._ids_of: dict[bytes, list[int]] = {}
        for token_id in ordinary:
            self._ids_of.setdefault(pieces[token_id], []).append(token_id)
        self.spells_every_byte = {p[0] for p in self._sorted_pieces if len(p) == 1} >= set(
            range(256)
        )
        """False: some text cannot be spelled, and healing could come to a dead end."""

    def allowed_ids(self, pending: bytes) -> NDArray[np.int64]:
        """Tokens that start with `pending` or are a head of it; in no particular order."""
        pieces = self._sorted_pieces
        first = bisect_left(pieces, pending)
        end = bisect_left(pieces, _after_all_that_start_with(pending), first)
        longer = self._sorted_ids[first:end]
        heads = [
            token_id
            for n_bytes in range(1, len(pending))
            for token_id in self._ids_of.get(pending[:n_bytes], ())
        ]
        return np.concatenate([longer, np.array(heads, np.int64)]) if heads else longer

    def take_back(self, token_ids: Sequence[int]) -> tuple[int, bytes]:
        """(tokens to keep, bytes of the others) for a prefix that ends at the cursor.

        Back to the start of the last word: tokens are taken while the text taken begins with a
        letter and the token before it ends with one. After a line end nothing is taken: no token
        reaches over it.
        """
        taken = b""
        n_keep = len(token_ids)
        while n_keep > 0:
            piece = self._pieces[token_ids[n_keep - 1]]
            if taken:
                is_inside_word = _is_word_byte(taken[0]) and _is_word_byte(piece[-1])
                if not is_inside_word or len(piece) + len(taken) > MAX_TAKEN_BACK_BYTES:
                    break
            elif not piece or piece.endswith(b"\n") or len(piece) > MAX_TAKEN_BACK_BYTES:
                break
            taken = piece + taken
            n_keep -= 1
        return n_keep, taken


def _is_word_byte(byte: int) -> bool:
    """ASCII letters, and every byte of a character beyond ASCII."""
    return byte >= 0x80 or chr(byte).isalpha()


def _after_all_that_start_with(head: bytes) -> bytes:
    """The least byte string that is greater than every one that starts with `head`."""
    stem = head.rstrip(b"\xff")
    if not stem:
        return b"\xff" * 1024  # longer than any token
    return stem[:-1] + bytes([stem[-1] + 1])
