"""Which tokens of a foreign vocabulary are the FIM sentinels: from its metadata, or by spelling.

Our own models name all ids in their metadata; files that others converted often name none.
"""

from collections.abc import Mapping, Sequence

from runtime.fim import FimTokens

# How each sentinel is spelled by the families that have it: StarCoder, StarCoder2, Qwen,
# CodeLlama, DeepSeek-Coder, CodeGemma, Codestral's kin and Granite.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "prefix": (
        "<fim_prefix>", "<fim-prefix>", "<|fim_prefix|>", "<PRE>", "▁<PRE>", "<｜fim▁begin｜>",
    ),
    "suffix": (
        "<fim_suffix>", "<fim-suffix>", "<|fim_suffix|>", "<SUF>", "▁<SUF>", "<｜fim▁hole｜>",
    ),
    "middle": (
        "<fim_middle>", "<fim-middle>", "<|fim_middle|>", "<MID>", "▁<MID>", "<｜fim▁end｜>",
    ),
    "pad": ("<fim_pad>", "<fim-pad>", "<|fim_pad|>"),
    "repo": ("<reponame>", "<repo_name>", "<|repo_name|>"),
    "file_sep": ("<file_sep>", "<|file_sep|>", "<|file_separator|>"),
    "end_of_text": ("<|endoftext|>", "<EOT>", "▁<EOT>", "<｜end▁of▁sentence｜>", "</s>"),
}  # fmt: skip


def find_fim_tokens(known_ids: Mapping[str, int], texts: Sequence[bytes]) -> FimTokens | None:
    """The sentinels, `known_ids` first; None where the vocabulary lacks one that is needed.

    `known_ids` has an entry for each role, negative where the metadata do not say; `texts` holds
    the spelling of each token.
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
    return FimTokens(
        prefix_id=prefix_id,
        suffix_id=suffix_id,
        middle_id=middle_id,
        end_of_text_id=end_of_text_id,
        pad_id=ids["pad"],
        repo_id=ids["repo"],
        file_sep_id=ids["file_sep"],
    )
