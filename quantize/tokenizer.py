"""tokenizer.json (Hugging Face, byte-level BPE) -> what llama.cpp needs to split text alike.

llama.cpp has the split patterns built in and knows them by name, so the pattern that stands in
tokenizer.json is looked up here; a tokenizer that it would not reproduce is refused, since a model
fed with other ids than it was trained on still answers, only badly.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from quantize.errors import TokenizerError
from runtime import fim

# The split pattern, as tokenizer.json spells it -> llama.cpp's name for it.
PRE_TOKENIZERS: dict[str, str] = {
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ): "qwen2",
}

_N_BYTES = 256


class TokenType(IntEnum):
    """llama.cpp's kinds of token, as far as we use them."""

    NORMAL = 1
    CONTROL = 3
    """Never matched in plain text."""
    USER_DEFINED = 4
    """Matched in any text before it is split."""
    UNUSED = 5
    """Fills a row of the embedding that has no token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTokenizer:
    """A byte-level BPE vocabulary in llama.cpp's terms; token ids are positions."""

    pre: str
    tokens: tuple[str, ...]
    """Bytes in GPT-2's printable alphabet; special tokens as they are spelled."""
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    fim_tokens: fim.FimTokens


def read_tokenizer(path: Path, *, n_tokens: int) -> GgufTokenizer:
    """Reads tokenizer.json and fills up to `n_tokens`, the rows of the embedding."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read ({error.strerror}): a checkpoint needs it, export it again"
        ) from error
    except ValueError as error:
        raise TokenizerError(
            f"{path} is not valid JSON ({error}): export the checkpoint again"
        ) from error
    try:
        return _convert(path, document, n_tokens)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"{path} is not laid out as a tokenizer of Hugging Face tokenizers is ({error!r}): "
            "export the checkpoint again"
        ) from error


def _convert(path: Path, document: Mapping[str, Any], n_tokens: int) -> GgufTokenizer:
    model = document["model"]
    _check_model(path, document, model)
    added = {token["content"]: token for token in document.get("added_tokens") or []}
    ids = {**model["vocab"], **{text: token["id"] for text, token in added.items()}}
    by_id = {token_id: text for text, token_id in ids.items()}
    if sorted(ids.values()) != list(range(len(ids))):
        raise TokenizerError(
            f"{path} has gaps or doubles among its token ids: export the checkpoint again"
        )
    if len(ids) > n_tokens:
        raise TokenizerError(
            f"{path} has {len(ids)} tokens but the model only {n_tokens} embeddings: "
            "the folder mixes two models, export it again"
        )
    if absent := _N_BYTES - len(set(_byte_alphabet()) & ids.keys()):
        raise TokenizerError(
            f"{path} lacks {absent} of the {_N_BYTES} byte tokens, so that some text cannot be "
            "spelled: train the tokenizer with the whole byte alphabet"
        )
    tokens = [by_id[token_id] for token_id in range(len(ids))]
    n_unused = n_tokens - len(tokens)
    return GgufTokenizer(
        pre=_pre_tokenizer_name(path, document.get("pre_tokenizer")),
        tokens=(*tokens, *(f"[UNUSED{number}]" for number in range(n_unused))),
        types=(
            *(_type_of(added.get(token)) for token in tokens),
            *(TokenType.UNUSED for _ in range(n_unused)),
        ),
        merges=tuple(
            merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]
        ),
        fim_tokens=_fim_tokens(path, ids),
    )


def _type_of(added_token: Mapping[str, Any] | None) -> TokenType:
    if added_token is None:
        return TokenType.NORMAL
    return TokenType.CONTROL if added_token["special"] else TokenType.USER_DEFINED


def _check_model(path: Path, document: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Whatever would make the ids differ from llama.cpp's byte-level BPE."""
    if model["type"] != "BPE":
        raise TokenizerError(
            f"{path} is a {model['type']} tokenizer, and only byte-level BPE can be converted: "
            "use a checkpoint with such a tokenizer"
        )
    differing = [
        key
        for key in (
            "dropout",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "byte_fallback",
            "ignore_merges",
        )
        if model.get(key)
    ]
    differing += ["normalizer"] if document.get("normalizer") else []
    post_processor = document.get("post_processor")
    if post_processor and post_processor["type"] != "ByteLevel":
        differing.append("post_processor")
    if differing:
        raise TokenizerError(
            f"{path} uses {', '.join(differing)}, which llama.cpp's byte-level BPE does not do: "
            "use a checkpoint whose tokenizer goes without"
        )


def _pre_tokenizer_name(path: Path, pre_tokenizer: Mapping[str, Any] | None) -> str:
    """llama.cpp's name of the split pattern, read from the pattern itself."""
    steps = list((pre_tokenizer or {}).get("pretokenizers") or [])
    kinds = [step["type"] for step in steps]
    if kinds == ["Split", "ByteLevel"]:
        split, byte_level = steps
        plain = (
            str(split["behavior"]).lower() == "isolated"
            and not split.get("invert", False)
            and not byte_level["add_prefix_space"]
            and not byte_level.get("use_regex", True)
        )
        pattern = split["pattern"].get("Regex")
        if plain and pattern in PRE_TOKENIZERS:
            return PRE_TOKENIZERS[pattern]
    raise TokenizerError(
        f"{path} splits text in a way that has no name in llama.cpp: use a tokenizer with the "
        f"split pattern of {', '.join(sorted(set(PRE_TOKENIZERS.values())))}"
    )


def _fim_tokens(path: Path, ids: Mapping[str, int]) -> fim.FimTokens:
    needed = (
        fim.END_OF_TEXT,
        fim.FIM_PREFIX,
        fim.FIM_MIDDLE,
        fim.FIM_SUFFIX,
        fim.FIM_PAD,
        fim.REPO_NAME,
        fim.FILE_SEP,
    )
    if missing := [text for text in needed if text not in ids]:
        raise TokenizerError(
            f"{path} has no token {missing[0]}: train the tokenizer with the special tokens of "
            "runtime.fim"
        )
    return fim.FimTokens(
        prefix_id=ids[fim.FIM_PREFIX],
        middle_id=ids[fim.FIM_MIDDLE],
        suffix_id=ids[fim.FIM_SUFFIX],
        end_of_text_id=ids[fim.END_OF_TEXT],
        pad_id=ids[fim.FIM_PAD],
        repo_id=ids[fim.REPO_NAME],
        file_sep_id=ids[fim.FILE_SEP],
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
