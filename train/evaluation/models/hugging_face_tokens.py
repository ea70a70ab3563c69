"""The vocabulary of a Hugging Face folder as the engine wants it, from tokenizer.json alone.

Two kinds are known: byte-level BPE (StarCoder, StarCoder2, Qwen, DeepSeek, Starling) and BPE with
byte fallback (CodeLlama and its kin). What each token spells is worked out in bytes, so that
healing and stopping are those of the engine. Imports no torch.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime.fim import FimTokens
from runtime.fim_spellings import find_fim_tokens
from train.errors import CheckpointError as CheckpointError  # what `HuggingFaceTokens` raises

TOKENIZER_FILE = "tokenizer.json"

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_WORD_MARK = "\u2581"  # SentencePiece's blank.
_ROLES = ("prefix", "suffix", "middle", "pad", "repo", "file_sep")


class HuggingFaceTokens:
    """A `runtime.backend.Tokens`."""

    def __init__(self, folder: Path, end_ids: frozenset[int]) -> None:
        """`end_ids`: what the model's config says ends a text. Raises CheckpointError."""
        path = folder / TOKENIZER_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            is_byte_level = _mentions(data, "ByteLevel")
            if not is_byte_level and not data["model"].get("byte_fallback"):
                raise CheckpointError(
                    f"{path} is neither a byte-level tokenizer nor one with byte fallback: such a "
                    "model cannot be compared here"
                )
            added = {int(token["id"]): token for token in data.get("added_tokens") or ()}
            _make_plain(data, added)
            self._tokenizer = Tokenizer.from_str(json.dumps(data))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(path, error) from error
        except CheckpointError:
            raise
        except Exception as error:  # The tokenizers package raises nothing more precise.
            raise _unreadable(path, error) from error
        # The property travels with no file; with it, sentinels spelled in a text are text.
        self._tokenizer.encode_special_tokens = True
        texts = self._texts()
        self.n_tokens = len(texts)
        spell = _spelled_by_bytes if is_byte_level else _spelled_with_fallback
        self.pieces = tuple(
            text.encode() if token_id in added else spell(text)
            for token_id, text in enumerate(texts)
        )
        special = {token_id for token_id, token in added.items() if token["special"]} | end_ids
        special |= {token_id for token_id, text in enumerate(texts) if not text}
        self.is_special: NDArray[np.bool_] = np.array([i in special for i in range(len(texts))])
        known = dict.fromkeys(_ROLES, -1) | {"end_of_text": min(end_ids, default=-1)}
        self.fim: FimTokens | None = find_fim_tokens(known, [text.encode() for text in texts])
        if self.fim is not None:
            self.is_special[list(self.fim.ids)] = True
        self.bos_id = self._first_id_of_a_text()

    def tokenize(self, text: str) -> list[int]:
        """Ids of the text; a sentinel's spelling inside it is ordinary text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _texts(self) -> list[str]:
        """Spellings by id; empty where the ids have a gap."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        texts = [""] * (max(vocabulary.values()) + 1)
        for text, token_id in vocabulary.items():
            texts[token_id] = text
        return texts

    def _first_id_of_a_text(self) -> int | None:
        """What the tokenizer itself puts before a text."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        dressed = self._tokenizer.encode("a", add_special_tokens=True).ids
        return dressed[0] if dressed[:1] != plain[:1] else None


def is_sentinel(added_token: Mapping[str, Any]) -> bool:
    """Whether no text that spells it may become this token: what is declared special, and what
    looks it, as Qwen's sentinels do."""
    content = added_token["content"].strip(_WORD_MARK)
    return bool(added_token["special"]) or content[:1] + content[-1:] == "<>"


def _make_plain(data: dict[str, Any], added: Mapping[int, dict[str, Any]]) -> None:
    """Change tokenizer.json so that a text's tokens spell this text and nothing else.

    Sentinels become special tokens (Qwen's are not), and no blank is put before a text, which
    SentencePiece's kin do.
    """
    for token in added.values():
        token["special"] = is_sentinel(token)
    normalizer = data.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    kept = [step for step in steps if step.get("type") not in (None, "Prepend")]
    data["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
    pre_tokenizer = data.get("pre_tokenizer") or {}
    for step in pre_tokenizer.get("pretokenizers", [pre_tokenizer]):
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = "never"
            step.pop("add_prefix_space", None)


def _mentions(data: Mapping[str, Any], kind: str) -> bool:
    return any(f'"{kind}"' in json.dumps(data.get(part)) for part in ("pre_tokenizer", "decoder"))


def _spelled_with_fallback(text: str) -> bytes:
    if byte := _BYTE_TOKEN.fullmatch(text):
        return bytes([int(byte[1], 16)])
    return text.replace(_WORD_MARK, " ").encode()


def _spelled_by_bytes(text: str) -> bytes:
    try:
        return bytes(_BYTE_OF[letter] for letter in text)
    except KeyError:
        return text.encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2's printable letter for each byte, the other way round."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = (chr(code) for code in range(256, 512))
    return {chr(byte) if byte in printable else next(spare): byte for byte in range(256)}


_BYTE_OF = _byte_letters()


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read as a tokenizer ({error}): download it again")
