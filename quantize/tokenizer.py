"""tokenizer.json (Hugging Face BPE) -> what llama.cpp needs to cut text into the same tokens.

Two kinds are known: byte-level BPE (StarCoder, StarCoder2, Qwen, Llama 3, DeepSeek-Coder,
Starling) and SentencePiece's BPE with byte fallback (CodeLlama, Llama 2). What llama.cpp would not
reproduce is refused, since a model fed with other ids than it was trained on still answers, only
badly.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from quantize.errors import TokenizerError
from quantize.special_tokens import SpecialIds, first_id_of_a_text, read_special_ids
from quantize.split_patterns import NAMES, name_of_split
from runtime.fim import FimTokens
from train.evaluation.models.hugging_face_tokens import is_sentinel

_N_BYTES = 256
_WORD_MARK = "\u2581"
"""SentencePiece's blank."""

# What would make the ids differ in BPE of either kind.
_OPTIONS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
# No UTF-8 has these, or only that of planes without characters; StarCoder2's vocabulary lacks them.
_BYTES_OF_NO_TEXT = frozenset({0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100)})
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
# llama.cpp merges the pair whose whole has the highest score; what no merge makes stays unmade.
_SCORE_OF_UNMERGED = -1e9


class TokenType(IntEnum):
    """llama.cpp's kinds of token."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    """Never matched in plain text."""
    USER_DEFINED = 4
    """Matched in any text before it is split."""
    UNUSED = 5
    """Fills a row of the embedding that has no token."""
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTokenizer:
    """A BPE vocabulary in llama.cpp's terms; token ids are positions."""

    model: str
    """``gpt2``: byte-level BPE; ``llama``: SentencePiece's."""
    pre: str
    """llama.cpp's name of the split pattern."""
    tokens: tuple[str, ...]
    """Bytes in GPT-2's printable alphabet, or text with SentencePiece's blanks; special tokens as
    they are spelled."""
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    """Of ``gpt2``, first come first served."""
    scores: tuple[float, ...]
    """Of ``llama``, one for each token: the order of merges."""
    special: SpecialIds
    normalizes: bool = False
    """Whether text is brought to Unicode's NFC first, which llama.cpp does not."""

    @property
    def fim_tokens(self) -> FimTokens | None:
        """None: it has no fill-in-the-middle tokens."""
        return self.special.fim


def read_tokenizer(
    path: Path, *, config: Mapping[str, Any], architecture: str, n_tokens: int
) -> GgufTokenizer:
    """Reads tokenizer.json, with tokenizer_config.json beside it, and fills up to `n_tokens`, the
    rows of the embedding; `config` is config.json, `architecture` llama.cpp's name of what is in
    it."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read ({error.strerror}): a checkpoint needs it; where there is only "
            "an older format, transformers makes it with "
            "`AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise TokenizerError(
            f"{path} is not valid JSON ({error}): export the checkpoint again"
        ) from error
    try:
        return _convert(path, document, config, architecture, n_tokens)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"{path} is not laid out as a tokenizer of Hugging Face tokenizers is ({error!r}): "
            "export the checkpoint again"
        ) from error


def _convert(
    path: Path,
    document: Mapping[str, Any],
    config: Mapping[str, Any],
    architecture: str,
    n_tokens: int,
) -> GgufTokenizer:
    model = document["model"]
    is_byte_level = _check_model(path, document, model)
    added = {token["content"]: token for token in document.get("added_tokens") or []}
    ids = {**model["vocab"], **{text: token["id"] for text, token in added.items()}}
    tokens = _by_id(path, ids, n_tokens)
    first_id = first_id_of_a_text(path, document.get("post_processor"), ids)
    split = _split_name(path, document, model) if is_byte_level else "default"
    special = read_special_ids(
        path.parent, config, ids, first_id=first_id, architecture=architecture, split=split
    )
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    kinds = _Kinds(added, special.ids, model.get("unk_token"), is_byte_level)
    types = tuple(kinds.of(token, token_id, ids) for token_id, token in enumerate(tokens))
    _check_bytes(path, ids, is_byte_level=is_byte_level)
    return GgufTokenizer(
        model="gpt2" if is_byte_level else "llama",
        pre=split,
        tokens=tokens if is_byte_level else _with_plain_blanks(tokens, types),
        types=types,
        merges=tuple(" ".join(merge) for merge in merges) if is_byte_level else (),
        scores=() if is_byte_level else _scores(tokens, merges),
        special=special,
        normalizes=is_byte_level and bool(_parts(document.get("normalizer"), "normalizers")),
    )


def _by_id(path: Path, ids: Mapping[str, int], n_tokens: int) -> tuple[str, ...]:
    """Spellings by id, with a name for each row of the embedding that has none."""
    if len(set(ids.values())) < len(ids):
        raise TokenizerError(
            f"{path} gives one id to two tokens: the folder mixes two models, export it again"
        )
    if max(ids.values()) >= n_tokens or min(ids.values()) < 0:
        raise TokenizerError(
            f"{path} has {max(ids.values()) + 1} tokens but the model only {n_tokens} embeddings: "
            "the folder mixes two models, export it again"
        )
    tokens = [f"[UNUSED{token_id}]" for token_id in range(n_tokens)]
    if clash := next((text for text in tokens if text in ids), None):
        raise TokenizerError(f"{path} has a token {clash}, a name for empty rows: rename it")
    for text, token_id in ids.items():
        tokens[token_id] = text
    return tuple(tokens)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Which kind a token is of."""

    added: Mapping[str, Mapping[str, Any]]
    special_ids: frozenset[int]
    unknown: str | None
    is_byte_level: bool

    def of(self, token: str, token_id: int, ids: Mapping[str, int]) -> TokenType:
        if token not in ids:
            return TokenType.UNUSED
        if not self.is_byte_level and token == self.unknown:
            return TokenType.UNKNOWN
        added = self.added.get(token)
        if token_id in self.special_ids or (added and is_sentinel(added)):
            return TokenType.CONTROL
        if added:
            return TokenType.USER_DEFINED
        if not self.is_byte_level and _BYTE_TOKEN.fullmatch(token):
            return TokenType.BYTE
        return TokenType.NORMAL


def _check_model(path: Path, document: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether it is byte-level; raises where the ids would differ from llama.cpp's."""
    if model["type"] != "BPE":
        raise TokenizerError(
            f"{path} is a {model['type']} tokenizer, and only BPE can be converted: "
            "use a checkpoint with such a tokenizer"
        )
    is_byte_level = not model.get("byte_fallback")
    differing = [key for key in _OPTIONS if model.get(key)]
    steps = _parts(document.get("normalizer"), "normalizers")
    kinds = [step["type"] for step in steps]
    if is_byte_level:
        # NFC is left to `token_ids`, which knows what it changes.
        differing += [] if kinds in ([], ["NFC"]) else ["normalizer"]
    else:
        differing += [] if _only_marks_blanks(document, steps) else ["normalizer or pre_tokenizer"]
        differing += ["ignore_merges"] if model.get("ignore_merges") else []
    if differing:
        raise TokenizerError(
            f"{path} uses {', '.join(differing)} in a way that llama.cpp does not: "
            "use a checkpoint whose tokenizer goes without"
        )
    return is_byte_level


def _only_marks_blanks(
    document: Mapping[str, Any], normalizers: Sequence[Mapping[str, Any]]
) -> bool:
    """SentencePiece's way: each blank becomes a mark, and one stands before the text. The one
    before the text is left out in GGUF: what is completed begins anywhere."""
    marks = [_marks_blanks(step) for step in normalizers]
    steps = _parts(document.get("pre_tokenizer"), "pretokenizers")
    if not steps:
        return bool(marks) and all(marks)
    return not marks and [step["type"] for step in steps] == ["Metaspace"]


def _marks_blanks(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Prepend":
        return bool(step["prepend"] == _WORD_MARK)
    return bool(
        step["type"] == "Replace"
        and step["pattern"] == {"String": " "}
        and step["content"] == _WORD_MARK
    )


def _parts(step: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """The steps of a sequence; one step alone is a sequence of one, and null of none."""
    if not step:
        return []
    return list(step[key]) if step["type"] == "Sequence" else [step]


def _split_name(path: Path, document: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    name = name_of_split(
        document.get("pre_tokenizer"), takes_whole_words=bool(model.get("ignore_merges"))
    )
    if name is None:
        raise TokenizerError(
            f"{path} splits text in a way that has no name in llama.cpp: use a tokenizer with the "
            f"split pattern of {', '.join(NAMES)}"
        )
    return name


def _check_bytes(path: Path, ids: Mapping[str, int], *, is_byte_level: bool) -> None:
    tokens = _byte_alphabet() if is_byte_level else _BYTE_TOKENS
    absent = [byte for byte, token in enumerate(tokens) if token not in ids]
    if n_absent := sum(byte not in _BYTES_OF_NO_TEXT for byte in absent):
        raise TokenizerError(
            f"{path} lacks {n_absent} of the {_N_BYTES} byte tokens, so that some text cannot be "
            "spelled: train the tokenizer with the whole byte alphabet"
        )


def _scores(tokens: Sequence[str], merges: Iterable[Sequence[str]]) -> tuple[float, ...]:
    """For each token: minus the rank of the first merge that makes it.

    SentencePiece keeps scores and tokenizers ranks; each follows from the other, because all
    merges of one whole come together.
    """
    rank_of: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        rank_of.setdefault(left + right, rank)
    return tuple(
        -float(rank_of[token]) if token in rank_of else _SCORE_OF_UNMERGED for token in tokens
    )


def _with_plain_blanks(tokens: Sequence[str], types: Sequence[TokenType]) -> tuple[str, ...]:
    """llama.cpp looks for these in the text before it marks the blanks."""
    return tuple(
        token.replace(_WORD_MARK, " ") if kind is TokenType.USER_DEFINED else token
        for token, kind in zip(tokens, types, strict=True)
    )


def _byte_alphabet() -> list[str]:
    """GPT-2's printable character for each byte: itself where it is visible, else 256 and on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    alphabet, next_spare = [], _N_BYTES
    for byte in range(_N_BYTES):
        if byte in visible:
            alphabet.append(chr(byte))
        else:
            alphabet.append(chr(next_spare))
            next_spare += 1
    return alphabet


_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(_N_BYTES))
