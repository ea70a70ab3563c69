"""Guards tokenizer and token shards: what is trained on must be exactly the corpus' text."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from runtime.fim import SPECIAL_TOKENS
from tests.train import tiny_corpus
from train.errors import CorpusError
from train.samples.shards import open_tokens, write_tokens
from train.samples.tokenizer import check, decode, encode, load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([file.text for file in tiny_corpus.files()], 400)


@settings(max_examples=200)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_round_trip_of_any_text(tokenizer: Tokenizer, text: str) -> None:
    assert decode(tokenizer, encode(tokenizer, text)) == text


@pytest.mark.parametrize("special", SPECIAL_TOKENS)
def test_spelling_of_a_special_token_is_plain_text(tokenizer: Tokenizer, special: str) -> None:
    """Source code that talks about sentinels must not become sentinels."""
    ids = encode(tokenizer, f"x = '{special}'")
    assert min(ids) >= len(SPECIAL_TOKENS)
    assert decode(tokenizer, ids) == f"x = '{special}'"


def test_newline_is_always_the_last_character_of_its_token(tokenizer: Tokenizer) -> None:
    for text in tokenizer.get_vocab():
        assert "Ċ" not in text.rstrip("Ċ"), text


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert len(encode(tokenizer, "1234567890")) == 10


def test_too_small_a_corpus_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"lower tokenizer\.vocab_size"):
        train_tokenizer(["abc"], 4096)


def test_foreign_tokenizer_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    values = json.loads(tokenizer.to_str())
    values["added_tokens"][1]["content"] = "<other>"
    values["model"]["vocab"]["<other>"] = values["model"]["vocab"].pop("<fim_prefix>")
    path.write_text(json.dumps(values))
    with pytest.raises(CorpusError, match="<fim_prefix> has not the id 1"):
        load_tokenizer(path)
    check(tokenizer)


def test_damaged_tokenizer_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_str()[:5000])
    with pytest.raises(CorpusError, match="is damaged .* run `starling train tokenizer` again"):
        load_tokenizer(path)


def test_shard_spells_the_corpus(tmp_path: Path) -> None:
    tokenizer, shard = tiny_corpus.tokenizer_and_shard(tmp_path)
    files = tiny_corpus.files()
    assert shard.n_documents == len(files)
    for idx, file in enumerate(files):
        assert decode(tokenizer, shard.document(idx).tolist()) == file.text
        assert shard.paths[idx] == file.path
    assert shard.origin_of_document.tolist() == [n % 3 for n in range(len(files))]
    assert shard.origins == ("pypi:shelf0", "pypi:shelf1", "pypi:shelf2")
    assert shard.n_bytes == sum(len(file.text.encode()) for file in files)


def test_damaged_shard_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    tiny_corpus.tokenizer_and_shard(tmp_path)
    data = (tmp_path / "tokens.bin").read_bytes()
    damaged = tmp_path / "damaged.bin"
    for n_bytes in [0, 7, 39, 40, 41, 200, *range(300, len(data), 997), len(data) - 1]:
        damaged.write_bytes(data[:n_bytes])
        with pytest.raises(CorpusError, match="starling train tokenizer"):
            open_tokens(damaged)
    damaged.write_bytes(b"X" + data[1:])
    with pytest.raises(CorpusError, match="not a token shard"):
        open_tokens(damaged)


@pytest.mark.parametrize("n_letters", range(5))
def test_shard_of_one_document_of_any_length(tmp_path: Path, n_letters: int) -> None:
    tokenizer, _ = tiny_corpus.tokenizer_and_shard(tmp_path)
    file = replace(tiny_corpus.files(1)[0], text="7" * n_letters)
    shard = write_tokens(tmp_path / "one.bin", [file], tokenizer, tokenizer_sha256="", corpus_id="")
    assert shard.document(0).tolist() == encode(tokenizer, file.text)
    assert len(shard.tokens_N) == n_letters


def test_a_corpus_without_documents_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    tokenizer, _ = tiny_corpus.tokenizer_and_shard(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match="add sources"):
        write_tokens(tmp_path / "none.bin", [], tokenizer, tokenizer_sha256="", corpus_id="")
    assert sorted(tmp_path.iterdir()) == before


def test_tokens_are_memory_mapped(tmp_path: Path) -> None:
    tiny_corpus.tokenizer_and_shard(tmp_path)
    array = open_tokens(tmp_path / "tokens.bin").tokens_N
    while array.base is not None and not isinstance(array, np.memmap):
        array = array.base
    assert isinstance(array, np.memmap)
