"""Guards the vocabulary's way into GGUF; whether llama.cpp cuts alike is in test_token_ids.

A failure would show as a model that reads other tokens than it was trained on, that never stops, or
that takes a sentinel spelled in the code for a real one.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from quantize.errors import TokenizerError
from quantize.tokenizer import GgufTokenizer, TokenType, read_tokenizer
from runtime.fim import SPECIAL_TOKENS, own_tokens
from tests.quantize import tiny_checkpoint, tokenizer_files

N_TOKENS = tiny_checkpoint.VOCAB_SIZE


def _write(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads(tiny_checkpoint.tokenizer_bytes())
    change(document)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    return path


def _read(path: Path, n_tokens: int = N_TOKENS, **config: Any) -> GgufTokenizer:
    return read_tokenizer(path, config=config, architecture="starcoder", n_tokens=n_tokens)


def _foreign(tmp_path: Path, document: str, **config: Any) -> GgufTokenizer:
    (tmp_path / "tokenizer.json").write_text(document, encoding="utf-8")
    return _read(tmp_path / "tokenizer.json", tokenizer_files.N_EMBEDDINGS, **config)


def test_tokens_types_and_merges(tmp_path: Path) -> None:
    path = _write(tmp_path, lambda document: None)
    tokenizer = _read(path)
    original = Tokenizer.from_file(str(path))
    assert (tokenizer.model, tokenizer.pre) == ("gpt2", "qwen2")
    assert [original.token_to_id(token) for token in tokenizer.tokens] == list(range(N_TOKENS))
    assert tokenizer.types[: len(SPECIAL_TOKENS)] == (TokenType.CONTROL,) * len(SPECIAL_TOKENS)
    assert set(tokenizer.types[len(SPECIAL_TOKENS) :]) == {TokenType.NORMAL}
    assert len(tokenizer.merges) == N_TOKENS - 256 - len(SPECIAL_TOKENS)
    assert tokenizer.fim_tokens is not None
    assert tokenizer.fim_tokens.ids == own_tokens().ids
    assert (tokenizer.special.bos, tokenizer.special.eos, tokenizer.special.pad) == (0, 0, 4)


def test_merges_in_the_older_spelling(tmp_path: Path) -> None:
    new = _read(_write(tmp_path, lambda document: None))

    def older(document: dict) -> None:
        model = document["model"]
        model["merges"] = [" ".join(merge) for merge in model["merges"]]

    assert _read(_write(tmp_path, older)) == new


def test_rows_without_a_token_are_filled(tmp_path: Path) -> None:
    """Padding after the last token, and a gap between tokens."""

    def add(document: dict) -> None:
        document["added_tokens"].append({"id": N_TOKENS + 2, "content": "<x>", "special": True})

    tokenizer = _read(_write(tmp_path, add), N_TOKENS + 4)
    unused = TokenType.UNUSED
    assert tokenizer.types[N_TOKENS:] == (unused, unused, TokenType.CONTROL, unused)
    assert len(set(tokenizer.tokens)) == N_TOKENS + 4


def test_added_tokens_that_are_not_special_stay_visible(tmp_path: Path) -> None:
    def add(document: dict) -> None:
        document["added_tokens"].append({"id": N_TOKENS, "content": "\t\t\t\t", "special": False})

    tokenizer = _read(_write(tmp_path, add), N_TOKENS + 1)
    assert tokenizer.types[N_TOKENS] is TokenType.USER_DEFINED


@pytest.mark.parametrize("name", ["starcoder", "starcoder2", "santacoder", "qwen", "deepseek"])
def test_sentinels_of_every_family_are_found_and_hidden(tmp_path: Path, name: str) -> None:
    """Qwen's are not declared special: a text that spells one would become one."""
    specials = tokenizer_files.SPECIAL_TOKENS[name]
    document = json.loads(tokenizer_files.byte_level("starcoder", specials))
    for token in document["added_tokens"]:
        token["special"] = name != "qwen"
    tokenizer = _foreign(tmp_path, json.dumps(document), eos_token_id=0)
    fim = tokenizer.fim_tokens
    assert fim is not None
    spelled = [specials[i] for i in (fim.prefix_id, fim.middle_id, fim.suffix_id)]
    words = (("prefix", "begin"), ("middle", "end"), ("suffix", "hole"))
    for word, text in zip(words, spelled, strict=True):
        assert any(part in text for part in word)
    hidden = {
        token_id for token_id, kind in enumerate(tokenizer.types) if kind == TokenType.CONTROL
    }
    assert hidden == set(range(len(specials)))


def test_codellama_has_bytes_scores_and_an_end_of_its_own(tmp_path: Path) -> None:
    tokenizer = _foreign(tmp_path, tokenizer_files.sentence_piece(), eos_token_id=2)
    assert (tokenizer.model, tokenizer.pre, tokenizer.merges) == ("llama", "default", ())
    assert tokenizer.types[:4] == (
        TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.BYTE,
    )  # fmt: skip
    assert tokenizer.tokens[3:259] == tuple(f"<0x{byte:02X}>" for byte in range(256))
    assert len(tokenizer.scores) == tokenizer_files.N_EMBEDDINGS
    made = [score for score in tokenizer.scores if score > -1e9]
    assert made == sorted(made, reverse=True) and len(made) > 200
    special = tokenizer.special
    assert (special.bos, special.eos, special.begins_texts) == (1, 2, True)
    assert tokenizer.tokens[special.eot] == "▁<EOT>"
    assert special.fim is not None and tokenizer.tokens[special.fim.prefix_id] == "▁<PRE>"


def test_a_tokenizer_without_sentinels_is_converted(tmp_path: Path) -> None:
    document = tokenizer_files.byte_level("gpt-2", tokenizer_files.SPECIAL_TOKENS["gpt-2"])
    tokenizer = _foreign(tmp_path, document, eos_token_id=0)
    assert tokenizer.fim_tokens is None
    assert tokenizer.special.ids == {0}


@pytest.mark.parametrize(
    ("beside", "config", "eos"),
    [
        ({"eos_token": "<gh_stars>"}, {"eos_token_id": 2}, 6),
        ({"eos_token": {"content": "<gh_stars>"}}, {}, 6),
        ({"eos_token": None}, {"eos_token_id": 2}, 2),
        ({}, {"eos_token_id": [3, 2]}, 3),
        # GPTBigCode's default, which tiny checkpoints keep although they have no such token.
        ({}, {"eos_token_id": 50256}, 0),
        ({"eos_token": "<|im_end|>"}, {}, 0),
    ],
)
def test_where_the_end_of_a_text_is_said(tmp_path: Path, beside, config, eos: int) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(beside))
    document = tokenizer_files.byte_level("starcoder", tokenizer_files.STARCODER_TOKENS)
    tokenizer = _foreign(tmp_path, document, **config)
    assert (tokenizer.special.eos, tokenizer.special.bos) == (eos, eos)


@pytest.mark.parametrize("data", ["{", "[]"])
def test_a_damaged_tokenizer_config_is_named(tmp_path: Path, data: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(data)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        _read(_write(tmp_path, lambda document: None))


def test_a_tokenizer_that_never_ends_is_refused(tmp_path: Path) -> None:
    document = tokenizer_files.byte_level("gpt-2", ("<start>",))
    with pytest.raises(TokenizerError, match=r"add eos_token to tokenizer_config\.json"):
        _foreign(tmp_path, document)


def _set(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        for key in keys[:-1]:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        inner[keys[-1]] = value

    return change


def _rename_byte(letter: str) -> Callable[[dict[str, Any]], None]:
    """The token of one byte changes its spelling, so that the byte has none."""

    def change(document: dict[str, Any]) -> None:
        vocabulary = document["model"]["vocab"]
        vocabulary["zzzz"] = vocabulary.pop(letter)

    return change


_TEMPLATE = {"type": "TemplateProcessing", "special_tokens": {}, "pair": []}


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
            "has no name in llama.cpp: use a tokenizer with the split pattern of .*starcoder",
        ),
        (
            _set("pre_tokenizer", "pretokenizers", "1", "add_prefix_space", value=True),
            "has no name in llama.cpp",
        ),
        (_set("pre_tokenizer", "pretokenizers", "1", "type", value="Digits"), "has no name"),
        # Qwen's split is only known with merges.
        (_set("model", "ignore_merges", value=True), "has no name in llama.cpp"),
        (_set("model", "type", value="Unigram"), "Unigram tokenizer"),
        (_set("model", "byte_fallback", value=True), "normalizer or pre_tokenizer"),
        (_set("model", "dropout", value=0.1), "dropout"),
        (_set("normalizer", value={"type": "Lowercase"}), "normalizer"),
        (_set("post_processor", value={"type": "RobertaProcessing"}), "post_processor"),
        (
            _set("post_processor", value=_TEMPLATE | {"single": [{"Sequence": {}}, {}]}),
            "not laid out|post_processor",
        ),
        (_set("model", "vocab", "extra", value=9999), "has 10000 tokens but the model only 512"),
        (_set("model", "vocab", "extra", value=400), "gives one id to two tokens"),
        (_set("model", "vocab", "[UNUSED7]", value=511), "gives one id to two|name for empty rows"),
        (_rename_byte("Ã"), "lacks 1 of the 256 byte tokens"),
        (_set("model", value=None), "not laid out"),
        (_set("model", "merges", value=7), "not laid out"),
        (_set("added_tokens", value=[1]), "not laid out"),
    ],
)
def test_what_llama_cpp_would_not_reproduce_is_refused(tmp_path, change, message) -> None:
    with pytest.raises(TokenizerError, match=message):
        _read(_write(tmp_path, change))


def test_bytes_that_stand_in_no_text_may_be_missing(tmp_path: Path) -> None:
    """StarCoder2's published vocabulary has no token for 0xFF and thirteen others."""
    tokenizer = _read(_write(tmp_path, _rename_byte("ÿ")))
    assert "zzzz" in tokenizer.tokens


def test_the_byte_alphabet_is_gpt2s() -> None:
    from quantize.tokenizer import _byte_alphabet

    assert set(_byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert len(_byte_alphabet()) == 256
