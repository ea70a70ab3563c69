"""tokenizer.json of several families, trained on this repository's files; needs no torch."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

VOCAB_SIZE, N_EMBEDDINGS = 640, 672
_SOURCES = Path(__file__).parents[2] / "runtime"
_GPT4_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

STARCODER_TOKENS = (
    "<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>",
    "<gh_stars>", "<issue_start>", "<reponame>",
)  # fmt: skip
SPECIAL_TOKENS: dict[str, tuple[str, ...]] = {
    "starcoder": STARCODER_TOKENS,
    "starcoder2": (*STARCODER_TOKENS[:5], "<repo_name>", "<file_sep>"),
    "santacoder": ("<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
    "qwen": (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>",
        "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
    ),
    "codellama": ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"),
    "deepseek": ("<｜end▁of▁sentence｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    "gpt-2": ("<|endoftext|>",),
}  # fmt: skip


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _byte_level(*, use_regex: bool) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


SPLITS: dict[str, Callable[[], list[Any]]] = {
    "gpt-2": lambda: [_byte_level(use_regex=True)],
    "starcoder": lambda: [pre_tokenizers.Digits(True), _byte_level(use_regex=True)],
    "qwen2": lambda: [
        _split(_GPT4_WORDS.replace("DIGITS", r"\p{N}")),
        _byte_level(use_regex=False),
    ],
    "dbrx": lambda: [
        _split(_GPT4_WORDS.replace("DIGITS", r"\p{N}{1,3}")),
        _byte_level(use_regex=False),
    ],
    "seed-coder": lambda: [
        _split(
            _GPT4_WORDS.replace("DIGITS", r"\p{N}{1}").replace(
                r"[^\s\p{L}\p{N}]+[\r\n]*", "[^\\s\\p{L}\\p{N}\r\n]+"
            )
        ),
        _byte_level(use_regex=False),
    ],
    "deepseek-coder": lambda: [
        _split("[\r\n]"),
        _split(r"\s?\p{L}+"),
        _split(r"\s?\p{P}+"),
        _split("[一-龥ࠀ-一가-퟿]+"),
        pre_tokenizers.Digits(True),
        _byte_level(use_regex=False),
    ],
}
"""By llama.cpp's name, as the families' own tokenizer.json spell them."""


@cache
def _texts() -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8") for path in sorted(_SOURCES.glob("*.py")))


@cache
def byte_level(split: str, specials: tuple[str, ...]) -> str:
    """tokenizer.json of a byte-level BPE with `VOCAB_SIZE` tokens, special ones first."""
    tokenizer = Tokenizer(models.BPE())
    steps = SPLITS[split]()
    tokenizer.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tokenizer.to_str()


@cache
def llama_3() -> str:
    """GPT-4's digits with whole words taken unmerged, and a beginning before each text."""
    document = json.loads(byte_level("dbrx", ("<|begin_of_text|>", "<|end_of_text|>")))
    document["model"]["ignore_merges"] = True
    document["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
            _begins_with("<|begin_of_text|>", 0),
        ],
    }
    return json.dumps(document)


@cache
def sentence_piece() -> str:
    """CodeLlama's kind: bytes as tokens of their own, and every merge that makes a token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    blanks = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(blanks)
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 4, special_tokens=first, show_progress=False
    )
    lines = [line[:80] for text in _texts() for line in text.splitlines()[:60]]
    tokenizer.train_from_iterator(lines, trainer)
    document = json.loads(tokenizer.to_str())
    vocabulary = document["model"]["vocab"]
    ranked = sorted((i, text) for text, i in vocabulary.items() if i >= len(first))
    document["model"]["merges"] = [
        [text[:cut], text[cut:]]
        for _, text in ranked
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    document["added_tokens"] = [one for one in document["added_tokens"] if one["id"] < 3] + [
        dict(document["added_tokens"][0], id=len(vocabulary) + place, content=text)
        for place, text in enumerate(SPECIAL_TOKENS["codellama"])
    ]
    document["post_processor"] = _begins_with("<s>", 1)
    return json.dumps(document)


def _begins_with(token: str, token_id: int) -> dict[str, Any]:
    piece = {"SpecialToken": {"id": token, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [piece, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [piece, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}},
    }


def starcoder() -> str:
    return byte_level("starcoder", SPECIAL_TOKENS["starcoder"])


def qwen() -> str:
    """Qwen's sentinels are not declared special, and its text is normalised."""
    document = json.loads(byte_level("qwen2", SPECIAL_TOKENS["qwen"]))
    for token in document["added_tokens"][3:]:
        token["special"] = False
    return json.dumps(document | {"normalizer": {"type": "NFC"}})
