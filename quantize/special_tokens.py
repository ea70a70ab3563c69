"""The tokens of a tokenizer that are no text: where texts begin and end, and the FIM sentinels.

Hugging Face's folders say it in up to three files. Spellings of the sentinels belong to
`runtime.fim_spellings`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.errors import TokenizerError
from runtime.fim import FimTokens
from runtime.fim_spellings import find_fim_tokens

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

_WORD_MARK = "\u2581"
_ROLES = ("prefix", "suffix", "middle", "pad", "repo", "file_sep")
# CodeLlama ends a middle otherwise than a text.
_MIDDLE_ENDS = ("<EOT>", f"{_WORD_MARK}<EOT>")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialIds:
    """Token ids by their part in a text."""

    bos: int
    """Begins a text; the same as `eos` where the model has none."""
    begins_texts: bool
    """Whether every text gets `bos` first."""
    eos: int
    """Ends a text."""
    eot: int
    """Ends a middle."""
    pad: int | None
    fim: FimTokens | None

    @property
    def ids(self) -> frozenset[int]:
        """All of them."""
        pad = () if self.pad is None else (self.pad,)
        fim = () if self.fim is None else self.fim.ids
        return frozenset((self.bos, self.eos, self.eot, *pad, *fim))


def read_special_ids(
    directory: Path,
    config: Mapping[str, Any],
    ids: Mapping[str, int],
    *,
    first_id: int | None,
    architecture: str,
    split: str,
) -> SpecialIds:
    """tokenizer_config.json first, which spells them; then the numbers in config.json, which some
    models left at a default; then the spellings that are known.

    `first_id`: what the tokenizer puts before every text. `architecture` and `split`, both by
    llama.cpp's names, tell families apart that spell their sentinels alike.
    """
    spelled = _tokenizer_config(directory)
    bos, eos, pad = (_id_of(role, spelled, config, ids) for role in ("bos", "eos", "pad"))
    texts = [b""] * (max(ids.values()) + 1)
    for text, token_id in ids.items():
        texts[token_id] = text.encode("utf-8", "surrogatepass")
    known = dict.fromkeys(_ROLES, -1)
    fim = find_fim_tokens(
        known | {"end_of_text": -1 if eos is None else eos},
        texts,
        architecture=architecture,
        tokenizer_kind=split,
    )
    if eos is None and fim is not None:
        eos = fim.end_of_text_id
    if eos is None:
        raise TokenizerError(
            f"{directory} does not say which token ends a text: add eos_token to "
            f"{TOKENIZER_CONFIG_FILE}"
        )
    if pad is None and fim is not None:
        pad = fim.pad_id
    first_of = (token_id for token_id in (first_id, bos, eos) if token_id is not None)
    return SpecialIds(
        bos=next(first_of),
        begins_texts=first_id is not None,
        eos=eos,
        eot=next((ids[text] for text in _MIDDLE_ENDS if text in ids), eos),
        pad=pad,
        fim=fim,
    )


def first_id_of_a_text(
    path: Path, post_processor: Mapping[str, Any] | None, ids: Mapping[str, int]
) -> int | None:
    """What the tokenizer puts before every text; raises where it puts in anything else."""
    steps = [] if not post_processor else post_processor.get("processors", [post_processor])
    first_id = None
    for step in steps:
        if step["type"] == "ByteLevel":
            continue
        match step["single"] if step["type"] == "TemplateProcessing" else None:
            case [{"Sequence": _}]:
                pass
            case [{"SpecialToken": {"id": name}}, {"Sequence": _}]:
                first_id = ids[name]
            case _:
                raise TokenizerError(
                    f"{path} puts other tokens around a text than one that marks its beginning "
                    "(post_processor), which llama.cpp does not: use a checkpoint whose tokenizer "
                    "goes without"
                )
    return first_id


def _id_of(
    role: str, spelled: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]
) -> int | None:
    token = spelled.get(f"{role}_token")
    text = token.get("content") if isinstance(token, Mapping) else token
    if isinstance(text, str) and text in ids:
        return ids[text]
    value = config.get(f"{role}_token_id")
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value not in ids.values():
        return None
    return value


def _tokenizer_config(directory: Path) -> Mapping[str, Any]:
    path = directory / TOKENIZER_CONFIG_FILE
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is damaged ({error}): copy it again") from error
    if not isinstance(values, dict):
        raise TokenizerError(f"{path} is not a JSON object: copy it again")
    return values
