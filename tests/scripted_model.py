"""A GGUF that says what a test wants it to say: a real model with weights worked out by hand.

The file name of a document decides: each text has a *marker*, one letter that is one token. The
prompt begins with the path, so the marker is somewhere before every token, and attention brings it
to the cursor: queries and keys are zero, so that each token attends equally to all before it, and
the values are the markers. The text is cut in pieces, a token each. The output weights add the
marker's vote to that of the position of the last piece; only the next piece of the marked text gets
both. Without a marker the model ends at once.

Everything around it is real: tokenizer, prompt, healing, KV cache, sampling, stopping, text rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from attribution.build import build_index
from attribution.manifest import ManifestRow, corpus_id_of
from runtime.bundle import MODEL_FILE, SPEC_FILE
from runtime.fim import END_OF_TEXT, SPECIAL_TOKENS
from runtime.spec import ModelSpec
from tests.tiny_model import CORPUS_ID, byte_alphabet, spec_of, write_gguf

MAX_TEXTS, MAX_PIECES = 256, 160
PIECE_CHARS = 4
_D_MODEL, _HEAD_DIM, _N_HEADS, _D_FF = 512, 64, 4, 32
_CONSTANT, _POSITIONS = MAX_TEXTS, MAX_TEXTS + 1
_CONTEXT_TOKENS = 4096
# The gain makes up for the dilution of a marker by a prompt of some thousand tokens.
_GAIN = 1000.0
# Votes of the position and of the marker. Single bytes are there for healing, which allows little
# else: they win over the later pieces of a text, but not over its first.
_NEXT, _FIRST, _BYTE, _LATER = 1e5, 1.0, 0.5, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedModel:
    """Where the model lies, and what it can say."""

    path: Path
    texts: tuple[str, ...]
    spec: ModelSpec

    def uri(self, text: str, *, folder: str = "w", suffix: str = ".py") -> str:
        """A document in which the model says `text` (and no other document has this name)."""
        return f"file:///{folder}/{quote(_marker(self.texts.index(text)))}{suffix}"


def write(
    path: Path,
    texts: Sequence[str],
    *,
    corpus_id: str = CORPUS_ID,
    chat_template: str = "",
) -> ScriptedModel:
    """Writes the model to `path`; it says any of `texts`, then ends."""
    texts = tuple(dict.fromkeys(texts))
    assert len(texts) <= MAX_TEXTS and all(texts)
    alphabet = byte_alphabet()

    def spelled(text: str) -> str:
        return "".join(alphabet[byte] for byte in text.encode())

    markers = [spelled(_marker(text_idx)) for text_idx in range(len(texts))]
    letters = [alphabet[byte] for byte in range(256)]
    taken = {"", *letters, *markers}
    # The short ones first: they have fewer ways to be cut.
    pieces_of = {text: _pieces(text, taken, spelled) for text in sorted(texts, key=len)}
    scripts = [[spelled(piece) for piece in pieces_of[text]] for text in texts]
    pieces = [piece for script in scripts for piece in script]
    tokens = [*SPECIAL_TOKENS, *letters, *markers, *pieces]
    assert len(set(tokens)) == len(tokens)
    tensors = _tensors(tokens, markers, scripts)
    spec = spec_of(
        tokens,
        tensors,
        name="scripted",
        n_layers=1,
        d_model=_D_MODEL,
        d_ff=_D_FF,
        n_heads=_N_HEADS,
        n_kv_heads=_N_HEADS,
        head_dim=_HEAD_DIM,
        context_tokens=_CONTEXT_TOKENS,
        corpus_id=corpus_id,
    )
    merges = [" ".join(marker) for marker in markers]
    write_gguf(path, spec, tokens, merges, tensors, chat_template=chat_template)
    return ScriptedModel(path=path, texts=texts, spec=spec)


def write_bundle(
    directory: Path, texts: Sequence[str], corpus: Sequence[tuple[ManifestRow, str]]
) -> ScriptedModel:
    """A bundle in a new folder: the model, and an index of the files that it is said to copy."""
    directory.mkdir()
    corpus_id = corpus_id_of([row for row, _ in corpus])
    model = write(directory / MODEL_FILE, texts, corpus_id=corpus_id)
    (directory / SPEC_FILE).write_text(model.spec.to_json(), "utf-8")
    assert build_index(directory, corpus) == corpus_id
    return replace(model, path=directory)


def _marker(text_idx: int) -> str:
    """A letter of two bytes."""
    return chr(0x100 + text_idx)


def _pieces(text: str, taken: set[str], spelled: Callable[[str], str]) -> list[str]:
    """`text` in pieces that no other text has, so that each is a token of its own."""
    pieces: list[str] = []
    rest = text
    while rest:
        n_chars = PIECE_CHARS
        while n_chars < len(rest) and spelled(rest[:n_chars]) in taken:
            n_chars += 1
        pieces.append(rest[:n_chars])
        rest = rest[n_chars:]
        while spelled(pieces[-1]) in taken:
            assert len(pieces) > 1, f"too short to be told from other texts: {text!r}"
            last = pieces.pop()
            taken.discard(spelled(pieces[-1]))
            pieces[-1] += last
        taken.add(spelled(pieces[-1]))
    assert len(pieces) <= MAX_PIECES, f"too long a script: {text!r}"
    return pieces


def _tensors(
    tokens: list[str], markers: list[str], scripts: list[list[str]]
) -> dict[str, np.ndarray]:
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    embedding_VD = np.zeros((len(tokens), _D_MODEL), np.float32)
    output_VD = np.zeros((len(tokens), _D_MODEL), np.float32)
    embedding_VD[:, _CONSTANT] = 1.0
    first_letter = len(SPECIAL_TOKENS)
    output_VD[first_letter : first_letter + 256, :MAX_TEXTS] = _BYTE
    output_VD[first_letter : first_letter + 256, _CONSTANT] = _BYTE
    output_VD[ids[END_OF_TEXT], _CONSTANT] = 1.0
    for text_idx, (marker, script) in enumerate(zip(markers, scripts, strict=True)):
        embedding_VD[ids[marker], text_idx] = 1.0
        for position, piece in enumerate(script):
            output_VD[ids[piece], text_idx] = _LATER if position else _FIRST
            if position:
                output_VD[ids[piece], _POSITIONS + position - 1] = _NEXT
            embedding_VD[ids[piece], _POSITIONS + position] = 1.0
        # The last piece has the position after all others, which only the end follows.
        embedding_VD[ids[script[-1]], _POSITIONS:] = 0.0
        embedding_VD[ids[script[-1]], _POSITIONS + MAX_PIECES] = 1.0
    output_VD[ids[END_OF_TEXT], _POSITIONS + MAX_PIECES] = 2 * _NEXT
    values_ND = np.zeros((_N_HEADS * _HEAD_DIM, _D_MODEL), np.float32)
    values_ND[:, :MAX_TEXTS] = np.eye(MAX_TEXTS)
    zeros_ND = np.zeros_like(values_ND)
    ones_H, ones_D = np.ones(_HEAD_DIM, np.float32), np.ones(_D_MODEL, np.float32)
    nothing_FD = np.zeros((_D_FF, _D_MODEL), np.float32)
    return {
        "token_embd.weight": embedding_VD,
        "output.weight": output_VD,
        "output_norm.weight": ones_D,
        "blk.0.attn_norm.weight": ones_D,
        "blk.0.attn_q.weight": zeros_ND,
        "blk.0.attn_k.weight": zeros_ND,
        "blk.0.attn_v.weight": values_ND,
        "blk.0.attn_output.weight": _GAIN * values_ND.T.copy(),
        "blk.0.attn_q_norm.weight": ones_H,
        "blk.0.attn_k_norm.weight": ones_H,
        "blk.0.ffn_norm.weight": ones_D,
        "blk.0.ffn_gate.weight": nothing_FD,
        "blk.0.ffn_up.weight": nothing_FD,
        "blk.0.ffn_down.weight": nothing_FD.T.copy(),
    }
