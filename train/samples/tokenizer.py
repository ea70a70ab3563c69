"""Byte-level BPE tokenizer: training, and the checks that it is the one serving expects.

Special tokens come first, in the order of `runtime.fim.SPECIAL_TOKENS`. The split pattern is
Qwen2's: single digits, a word with the one character before it, punctuation with the line ends
after it. llama.cpp knows it by the name ``qwen2``. Under it a newline is always the last character
of its token, so that stopping at a line end is exact.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from runtime.fim import FILE_SEP, SPECIAL_TOKENS
from train.errors import CorpusError

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PROBE = (
    "def f(self, x=10):\n\treturn {'naïve': x**2}  # ünïcode ☺ 日本\n\n\nif x:\r\n    pass\n"
    "<fim_prefix>\x00\x7f\ufeff  \t 123456 don't"
)
"""A text on which a tokenizer that differs shows it."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of exactly `vocab_size` tokens; raises CorpusError when `texts` is too small."""
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    with_byte_level(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise CorpusError(
            f"the corpus is too small for {vocab_size} tokens (it gives "
            f"{tokenizer.get_vocab_size()}): lower tokenizer.vocab_size or add sources"
        )
    return tokenizer


def with_byte_level(tokenizer: Tokenizer) -> None:
    """Let it split text by SPLIT_PATTERN and spell pieces as bytes, and put them together again."""
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write tokenizer.json whole, read it back and check that it spells a probe text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        check(Tokenizer.from_file(str(temporary)))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in `path`; raises CorpusError when it is missing, damaged or not ours."""
    if not path.is_file():
        raise CorpusError(f"there is no {path}: run `starling train tokenizer` first")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises nothing narrower.
        raise CorpusError(
            f"{path} is damaged ({error}): run `starling train tokenizer` again"
        ) from error
    check(tokenizer)
    return tokenizer


def n_special_tokens(tokenizer: Tokenizer) -> int:
    """How many of SPECIAL_TOKENS it has; one that an older Starling made lacks the last ones.

    Ids below this number are special tokens, all others spell text.
    """
    ids = [tokenizer.token_to_id(text) for text in SPECIAL_TOKENS]
    return ids.index(None) if None in ids else len(ids)


def check(tokenizer: Tokenizer) -> None:
    """Raise CorpusError unless special ids are in order and encoding loses nothing.

    The last special tokens may be absent, but none up to the file separator.
    """
    n_special = max(n_special_tokens(tokenizer), SPECIAL_TOKENS.index(FILE_SEP) + 1)
    for token_id, text in enumerate(SPECIAL_TOKENS):
        wanted = token_id if token_id < n_special else None
        if tokenizer.token_to_id(text) != wanted:
            raise CorpusError(
                f"{text} has not the id {token_id} in this tokenizer: train one with this Starling"
            )
    if decode(tokenizer, encode(tokenizer, PROBE)) != PROBE:
        raise CorpusError("the tokenizer does not give back what it was given: train it again")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of plain text; the spelling of a special token is text like any other."""
    # The property travels with no file, so it is set where it matters.
    tokenizer.encode_special_tokens = True
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def encode_layout(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text that spells its special tokens, e.g. ``<issue_start>Title: ...``."""
    tokenizer.encode_special_tokens = False
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """The text that `ids` spell."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False))


def sha256_of(path: Path) -> str:
    """Identity of a tokenizer file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
