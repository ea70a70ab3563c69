"""A tokenizer as GGUF metadata: the keys that llama.cpp cuts text by. Knows nothing of weights."""

from gguf import GGUFWriter
from gguf.constants import Keys

from quantize.tokenizer import GgufTokenizer


def add_vocabulary(writer: GGUFWriter, tokenizer: GgufTokenizer) -> None:
    """Tokens, their kinds, merges or scores, and every special id that is known."""
    writer.add_tokenizer_model(tokenizer.model)
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([int(kind) for kind in tokenizer.types])
    if tokenizer.scores:
        writer.add_token_scores(tokenizer.scores)
        # A completion begins anywhere in a text, so no blank is put before it.
        writer.add_add_space_prefix(False)
    else:
        writer.add_token_merges(tokenizer.merges)
    for key, token_id in _special_ids(tokenizer).items():
        if token_id is not None:
            writer.add_uint32(key, token_id)
    writer.add_add_bos_token(tokenizer.special.begins_texts)
    writer.add_add_eos_token(False)


def _special_ids(tokenizer: GgufTokenizer) -> dict[str, int | None]:
    special, fim = tokenizer.special, tokenizer.special.fim
    ids: dict[str, int | None] = {
        # Footgun: without these llama.cpp takes 11 for both, which is a token like any other.
        Keys.Tokenizer.BOS_ID: special.bos,
        Keys.Tokenizer.EOS_ID: special.eos,
        Keys.Tokenizer.EOT_ID: special.eot,
        Keys.Tokenizer.PAD_ID: special.pad,
    }
    if fim is not None:
        # llama.cpp would find most of these by their spelling, but not <file_sep>.
        ids |= {
            Keys.Tokenizer.FIM_PRE_ID: fim.prefix_id,
            Keys.Tokenizer.FIM_SUF_ID: fim.suffix_id,
            Keys.Tokenizer.FIM_MID_ID: fim.middle_id,
            Keys.Tokenizer.FIM_PAD_ID: fim.pad_id,
            Keys.Tokenizer.FIM_REP_ID: fim.repo_id,
            Keys.Tokenizer.FIM_SEP_ID: fim.file_sep_id,
        }
    return ids
