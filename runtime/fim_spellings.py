"""Which tokens of a foreign vocabulary are the FIM sentinels, and in which order they are used.

From the metadata, or by spelling: our own models name all ids in their metadata; files that others
converted often name none. The orders are those of the models' papers and cards.
"""

from collections.abc import Mapping, Sequence

from runtime.fim import FimTokens, Order

# How each sentinel is spelled by the families that have it: StarCoder, StarCoder2, Refact, Granite,
# Stable Code and Mellum; SantaCoder; Qwen-Coder, CodeGemma and newer Granites; CodeLlama (with and
# without SentencePiece's blank); DeepSeek-Coder; Codestral; CodeGeeX; Seed-Coder.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "prefix": (
        "<fim_prefix>", "<fim-prefix>", "<|fim_prefix|>", "<PRE>", "▁<PRE>", "<｜fim▁begin｜>",
        "[PREFIX]", "<|code_prefix|>", "<[fim-prefix]>",
    ),
    "suffix": (
        "<fim_suffix>", "<fim-suffix>", "<|fim_suffix|>", "<SUF>", "▁<SUF>", "<｜fim▁hole｜>",
        "[SUFFIX]", "<|code_suffix|>", "<[fim-suffix]>",
    ),
    "middle": (
        "<fim_middle>", "<fim-middle>", "<|fim_middle|>", "<MID>", "▁<MID>", "<｜fim▁end｜>",
        "[MIDDLE]", "<|code_middle|>", "<[fim-middle]>",
    ),
    "pad": ("<fim_pad>", "<fim-pad>", "<|fim_pad|>"),
    "repo": ("<reponame>", "<repo_name>", "<|repo_name|>"),
    # StarCoder and its kin before StarCoder2 introduce a file by its name alone.
    "file_sep": ("<file_sep>", "<|file_sep|>", "<|file_separator|>", "<filename>"),
    "end_of_text": (
        "<|endoftext|>", "<EOT>", "▁<EOT>", "<｜end▁of▁sentence｜>", "<[end▁of▁sentence]>", "</s>",
        "<eos>",
    ),
}  # fmt: skip

_ORDER_OF_PREFIX: dict[str, Order] = {
    "[PREFIX]": Order.NO_MIDDLE,
    "<[fim-prefix]>": Order.SUFFIX_FIRST,
}
# Models whose sentinels are spelled like those of others, by what their converter calls the
# tokenizer. The first StarCoders learned both orders half and half (Li et al. 2023, section 3.3).
_ORDER_OF_KIND: dict[str, Order] = {
    "mellum": Order.SUFFIX_FIRST,
    "mellum2": Order.SUFFIX_FIRST,
}
_ORDER_OF_ARCHITECTURE: dict[str, Order] = {"starcoder": Order.SPM}


def find_fim_tokens(
    known_ids: Mapping[str, int],
    texts: Sequence[bytes],
    *,
    architecture: str = "",
    tokenizer_kind: str = "",
) -> FimTokens | None:
    """The sentinels, `known_ids` first; None where the vocabulary lacks one that is needed.

    `known_ids` has an entry for each role, negative where the metadata do not say; `texts` holds
    the spelling of each token. `tokenizer_kind` is the metadata's ``tokenizer.ggml.pre``.
    """
    id_of = {text.decode("utf-8", "replace"): i for i, text in enumerate(texts) if text}
    ids: dict[str, int | None] = {
        role: known_ids[role]
        if 0 <= known_ids[role] < len(texts)
        else next((id_of[spelling] for spelling in spellings if spelling in id_of), None)
        for role, spellings in _SPELLINGS.items()
    }
    prefix_id, suffix_id, middle_id = ids["prefix"], ids["suffix"], ids["middle"]
    end_of_text_id = ids["end_of_text"]
    if prefix_id is None or suffix_id is None or middle_id is None or end_of_text_id is None:
        return None
    prefix_text = texts[prefix_id].decode("utf-8", "replace")
    return FimTokens(
        prefix_id=prefix_id,
        suffix_id=suffix_id,
        middle_id=middle_id,
        end_of_text_id=end_of_text_id,
        pad_id=ids["pad"],
        repo_id=ids["repo"],
        file_sep_id=ids["file_sep"],
        order=_ORDER_OF_PREFIX.get(prefix_text)
        or _ORDER_OF_KIND.get(tokenizer_kind)
        or _ORDER_OF_ARCHITECTURE.get(architecture, Order.PSM),
    )
