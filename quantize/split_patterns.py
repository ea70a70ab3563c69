"""How tokenizer.json splits text before BPE -> llama.cpp's name for the same split.

llama.cpp has its patterns built in and knows them by name. The pattern is read from the steps that
tokenizer.json describes, whatever vocabulary it belongs to: several spellings of one split are
brought to one form first. Whether both really cut alike, `token_ids` tries out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = "one digit at a time"
GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# The words of GPT-4's split, which others vary: how many digits stand together, and whether a run
# of punctuation takes the line ends after it.
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS|PUNCTUATION"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _gpt4(digits: str, punctuation: str = r" ?[^\s\p{L}\p{N}]+[\r\n]*") -> str:
    return _GPT4.replace("DIGITS", digits).replace("PUNCTUATION", punctuation)


_DEEPSEEK_CODER = (
    "[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    DIGITS,
)

# (the steps, whether whole words of the vocabulary are taken without merging) -> llama.cpp's name.
_NAMES: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2_WORDS,), False): "gpt-2",
    ((DIGITS, GPT2_WORDS), False): "starcoder",
    ((_gpt4(r"\p{N}"),), False): "qwen2",
    ((_gpt4(r"\p{N}{1,3}"),), True): "llama-bpe",
    ((_gpt4(r"\p{N}{1,3}"),), False): "dbrx",
    ((_gpt4(r"\p{N}{1}", r" ?[^\s\p{L}\p{N}" "\r\n]+"),), False): "seed-coder",
    (_DEEPSEEK_CODER, False): "deepseek-coder",
}

NAMES: tuple[str, ...] = tuple(sorted(_NAMES.values()))
"""Every split that can be converted, by llama.cpp's name."""

# The same spelled otherwise: r"\r" and a real carriage return inside a class mean one thing.
_REAL_LINE_ENDS = {"\r": r"\r", "\n": r"\n"}


def name_of_split(
    pre_tokenizer: Mapping[str, Any] | None, *, takes_whole_words: bool
) -> str | None:
    """llama.cpp's name; None where it has none. `takes_whole_words`: ``ignore_merges``."""
    steps = _steps(pre_tokenizer or {})
    if steps is None:
        return None
    known = {
        (tuple(map(_spelled_alike, pattern)), whole): name
        for (pattern, whole), name in _NAMES.items()
    }
    return known.get((tuple(map(_spelled_alike, steps)), takes_whole_words))


def _steps(pre_tokenizer: Mapping[str, Any]) -> Sequence[str] | None:
    """What each step cuts out; None where one does something else."""
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if not parts or parts[-1].get("type") != "ByteLevel":
        return None
    steps = []
    for part in parts:
        match part.get("type"):
            case "Digits" if part["individual_digits"]:
                steps.append(DIGITS)
            case "Split" if _is_plain(part):
                steps.append(part["pattern"]["Regex"])
            case "ByteLevel" if not part["add_prefix_space"]:
                steps += [GPT2_WORDS] if part.get("use_regex", True) else []
            case _:
                return None
    # tokenizers' Digits and this pattern cut out the same characters.
    return [DIGITS if step == r"\p{N}" else step for step in steps]


def _is_plain(split: Mapping[str, Any]) -> bool:
    """Each match becomes a piece, and so does what lies between matches."""
    return (
        str(split["behavior"]).lower() == "isolated"
        and not split.get("invert", False)
        and "Regex" in split["pattern"]
    )


def _spelled_alike(pattern: str) -> str:
    for character, escape in _REAL_LINE_ENDS.items():
        pattern = pattern.replace(character, escape)
    return pattern
