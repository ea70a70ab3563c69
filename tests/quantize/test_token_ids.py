"""Contract: llama.cpp cuts a text into the ids that the tokenizers package gives, for every split.

A failure would show as a model that reads other tokens than it was trained on: it still answers,
only badly. The comparison that each conversion makes is shown to be able to fail.
"""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from quantize.errors import TokenizerError
from quantize.split_patterns import NAMES
from quantize.token_ids import CODE, RARE, compare_with_llama_cpp, vocabulary_of
from quantize.tokenizer import GgufTokenizer, read_tokenizer
from runtime.fim import SPECIAL_TOKENS
from tests.quantize import tokenizer_files
from train.evaluation.models.hugging_face_tokens import HuggingFaceTokens
from train.samples.tokenizer import save_tokenizer, train_tokenizer

_SOURCES = sorted((Path(__file__).parents[2] / "runtime").glob("*.py"))
_SPECIALS = tokenizer_files.SPECIAL_TOKENS["starcoder2"]

# As Hugging Face's own files spell them; "ours" is what training writes.
DOCUMENTS = {
    **{
        name: lambda name=name: tokenizer_files.byte_level(name, _SPECIALS)
        for name in tokenizer_files.SPLITS
    },
    "llama-bpe": tokenizer_files.llama_3,
    "default": tokenizer_files.sentence_piece,
}
LONG = {
    "spaces": "x" + " " * 3000 + "y" + " " * 1001,
    "newlines": "\n" * 500 + "x" + "\n \n  \n" * 50,
    "words without end": "a" * 5000,
    "sentinels": "".join(SPECIAL_TOKENS)
    + " <fim_prefix > <|endoftext|>x<file_sep>\n</s><s> ▁<PRE>",
}


def _tokenizer(path: Path) -> GgufTokenizer:
    return read_tokenizer(
        path,
        config={"eos_token_id": 0},
        architecture="starcoder",
        n_tokens=tokenizer_files.N_EMBEDDINGS,
    )


def _written(folder: Path, name: str) -> Path:
    path = folder / "tokenizer.json"
    if name == "ours":
        texts = [source.read_text(encoding="utf-8") for source in _SOURCES]
        save_tokenizer(train_tokenizer(texts, tokenizer_files.VOCAB_SIZE), path)
    else:
        path.write_text(DOCUMENTS[name](), encoding="utf-8")
    return path


def test_every_split_is_tried() -> None:
    assert set(DOCUMENTS) - {"default"} == set(NAMES)


@pytest.mark.parametrize("name", ["ours", *DOCUMENTS])
def test_ids_agree(tmp_path: Path, name: str) -> None:
    """On the page, on long runs, and on pieces of it cut anywhere and put together at random."""
    path = _written(tmp_path, name)
    tokenizer = _tokenizer(path)
    assert tokenizer.pre == ("qwen2" if name == "ours" else name)
    assert compare_with_llama_cpp(tokenizer, path) == ()
    original = HuggingFaceTokens(tmp_path, frozenset())
    page = "".join(text[:200] for text in (CODE | RARE).values())
    rng = random.Random(0)
    texts = [*LONG.values()]
    for _ in range(150):
        cuts = [rng.randrange(len(page)) for _ in range(rng.randrange(1, 30))]
        texts.append("".join(page[cut : cut + rng.randrange(1, 6)] for cut in cuts))
    with vocabulary_of(tokenizer) as vocabulary:
        for text in texts:
            ids = vocabulary.tokenize(text)
            assert ids == original.tokenize(text), repr(text)
            spelled = b"".join(vocabulary.pieces[i] for i in ids).decode()
            assert spelled == (text.replace("▁", " ") if name == "default" else text)


@pytest.mark.parametrize(
    ("name", "pre", "differing"),
    [
        ("gpt-2", "starcoder", "digits"),
        ("starcoder", "qwen2", "many line ends"),
        ("qwen2", "starcoder", "tabs"),
        ("llama-bpe", "seed-coder", "tabs"),
    ],
)
def test_another_split_is_noticed(tmp_path: Path, name: str, pre: str, differing: str) -> None:
    path = _written(tmp_path, name)
    with pytest.raises(TokenizerError, match=f"cuts text otherwise .*{differing}"):
        compare_with_llama_cpp(replace(_tokenizer(path), pre=pre), path)


def test_merges_in_another_order_are_noticed(tmp_path: Path) -> None:
    path = _written(tmp_path, "starcoder")
    tokenizer = _tokenizer(path)
    with pytest.raises(TokenizerError, match="its merges"):
        compare_with_llama_cpp(replace(tokenizer, merges=tokenizer.merges[::-1]), path)


def test_scores_in_another_order_are_noticed(tmp_path: Path) -> None:
    path = _written(tmp_path, "default")
    tokenizer = _tokenizer(path)
    upside_down = tuple(-score if score > -1e9 else score for score in tokenizer.scores)
    with pytest.raises(TokenizerError, match="its merges"):
        compare_with_llama_cpp(replace(tokenizer, scores=upside_down), path)


def test_what_differs_in_rare_text_is_a_note(tmp_path: Path) -> None:
    """Added tokens that tokenizers finds before, and llama.cpp after, it looks at anything else."""
    document = json.loads(tokenizer_files.byte_level("starcoder", _SPECIALS))
    document["model"]["vocab"]["Ⅷ"] = tokenizer_files.VOCAB_SIZE
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    added = document["added_tokens"][0] | {"id": tokenizer_files.VOCAB_SIZE, "content": "Ⅷ"}
    tokenizer = _tokenizer(path)
    document["added_tokens"].append(added | {"special": False})
    path.write_text(json.dumps(document), encoding="utf-8")
    (note,) = compare_with_llama_cpp(tokenizer, path)
    assert note.endswith("otherwise than in training: other digits")


def test_a_text_is_normalised_before_it_is_compared(tmp_path: Path) -> None:
    """Qwen's tokenizer normalises, llama.cpp does not: said, and no reason to refuse it."""
    document = json.loads(
        tokenizer_files.byte_level("qwen2", tokenizer_files.SPECIAL_TOKENS["qwen"])
    )
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document | {"normalizer": {"type": "NFC"}}), encoding="utf-8")
    (note,) = compare_with_llama_cpp(_tokenizer(path), path)
    assert "NFC" in note


def test_a_token_of_that_name_is_no_normaliser(tmp_path: Path) -> None:
    document = json.loads(tokenizer_files.byte_level("starcoder", _SPECIALS))
    document["model"]["vocab"]["NFC"] = tokenizer_files.VOCAB_SIZE
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert compare_with_llama_cpp(_tokenizer(path), path) == ()
