"""Guards the vocabulary's way into GGUF; ids against llama.cpp are in tests/contracts.

A failure would show as a model that reads other tokens than it was trained on.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from quantize.errors import TokenizerError
from quantize.tokenizer import PRE_TOKENIZERS, TokenType, read_tokenizer
from runtime.fim import SPECIAL_TOKENS, own_tokens
from tests.quantize import tiny_checkpoint
from train.samples.tokenizer import SPLIT_PATTERN

N_TOKENS = tiny_checkpoint.VOCAB_SIZE


def _write(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads(tiny_checkpoint.tokenizer_bytes())
    change(document)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    return path


def test_our_own_split_pattern_has_a_name() -> None:
    assert PRE_TOKENIZERS[SPLIT_PATTERN] == "qwen2"


def test_tokens_types_and_merges(tmp_path: Path) -> None:
    path = _write(tmp_path, lambda document: None)
    tokenizer = read_tokenizer(path, n_tokens=N_TOKENS)
    original = Tokenizer.from_file(str(path))
    assert tokenizer.pre == "qwen2"
    assert [original.token_to_id(token) for token in tokenizer.tokens] == list(range(N_TOKENS))
    assert tokenizer.types[: len(SPECIAL_TOKENS)] == (TokenType.CONTROL,) * len(SPECIAL_TOKENS)
    assert set(tokenizer.types[len(SPECIAL_TOKENS) :]) == {TokenType.NORMAL}
    assert len(tokenizer.merges) == N_TOKENS - 256 - len(SPECIAL_TOKENS)
    assert tokenizer.fim_tokens == own_tokens()


def test_merges_in_the_older_spelling(tmp_path: Path) -> None:
    new = read_tokenizer(_write(tmp_path, lambda document: None), n_tokens=N_TOKENS)

    def older(document: dict) -> None:
        model = document["model"]
        model["merges"] = [" ".join(merge) for merge in model["merges"]]

    assert read_tokenizer(_write(tmp_path, older), n_tokens=N_TOKENS) == new


def test_rows_without_a_token_are_filled(tmp_path: Path) -> None:
    path = _write(tmp_path, lambda document: None)
    tokenizer = read_tokenizer(path, n_tokens=N_TOKENS + 3)
    assert tokenizer.types[N_TOKENS:] == (TokenType.UNUSED,) * 3
    assert len(set(tokenizer.tokens)) == N_TOKENS + 3


def test_added_tokens_that_are_not_special_stay_visible(tmp_path: Path) -> None:
    def add(document: dict) -> None:
        document["added_tokens"].append({"id": N_TOKENS, "content": "\t\t\t\t", "special": False})

    tokenizer = read_tokenizer(_write(tmp_path, add), n_tokens=N_TOKENS + 1)
    assert tokenizer.types[N_TOKENS] is TokenType.USER_DEFINED


def _set(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        for key in keys[:-1]:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        inner[keys[-1]] = value

    return change


def _drop_byte(document: dict[str, Any]) -> None:
    """The token of byte 0xFF changes its spelling, so that one byte has none."""
    vocabulary = document["model"]["vocab"]
    vocabulary["zzzz"] = vocabulary.pop("ÿ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("pre_tokenizer", value=None), "has no name in llama.cpp"),
        (
            _set("pre_tokenizer", "pretokenizers", "0", "pattern", value={"Regex": r"\w+"}),
            "has no name in llama.cpp",
        ),
        (
            _set("pre_tokenizer", "pretokenizers", "0", "behavior", value="Removed"),
            "has no name in llama.cpp",
        ),
        (
            _set("pre_tokenizer", "pretokenizers", "1", "add_prefix_space", value=True),
            "has no name in llama.cpp",
        ),
        (_set("model", "type", value="Unigram"), "Unigram tokenizer"),
        (_set("model", "byte_fallback", value=True), "byte_fallback"),
        (_set("model", "dropout", value=0.1), "dropout"),
        (_set("normalizer", value={"type": "NFC"}), "normalizer"),
        (_set("post_processor", value={"type": "TemplateProcessing"}), "post_processor"),
        (_set("model", "vocab", "extra", value=9999), "gaps or doubles"),
        (_set("added_tokens", "0", "content", value="<s>"), "gaps or doubles"),
        (_drop_byte, "lacks 1 of the 256 byte tokens"),
        (_set("model", value=None), "not laid out"),
        (_set("added_tokens", value=[1]), "not laid out"),
    ],
)
def test_what_llama_cpp_would_not_reproduce_is_refused(tmp_path, change, message) -> None:
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer(_write(tmp_path, change), n_tokens=N_TOKENS)


def test_a_vocabulary_without_sentinels_is_refused(tmp_path: Path) -> None:
    def rename(document: dict) -> None:
        for token in document["added_tokens"]:
            token["content"] = token["content"].replace("fim", "FIM")
        vocabulary = document["model"]["vocab"]
        document["model"]["vocab"] = {
            token.replace("fim", "FIM") if token in SPECIAL_TOKENS else token: token_id
            for token, token_id in vocabulary.items()
        }

    with pytest.raises(TokenizerError, match="no token <fim_prefix>"):
        read_tokenizer(_write(tmp_path, rename), n_tokens=N_TOKENS)


def test_the_byte_alphabet_is_gpt2s() -> None:
    from quantize.tokenizer import _byte_alphabet

    assert set(_byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert len(_byte_alphabet()) == 256
