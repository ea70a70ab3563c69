"""Tiny random GGUF files whose vocabularies are shaped like those of other people's models.

Llama's architecture, one layer; what differs from family to family is what Starling has to find
out: the spellings and kinds of special tokens, which of them the metadata name, whether a prompt
begins with a token, how text is spelled (bytes as GPT-2 writes them, or SentencePiece's); holes.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import TokenType

from tests.tiny_model import byte_alphabet

D_MODEL, D_FF, N_HEADS = 32, 64, 2
CONTEXT_TOKENS = 256
_WORDS = ("def", "return", "import", "x", "self", "(", ")", ":", "=", "    ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model, as its files are."""

    name: str
    special: tuple[str, ...]
    """In the order of their ids; the first one ends a text."""
    layout: str
    """What the model is shown for prefix ``P``, suffix ``S`` and path ``a.py``."""
    named: tuple[str, ...] = ()
    """Roles whose ids stand in the metadata: pre, suf, mid, pad, rep, sep."""
    architecture: str = "llama"
    tokenizer: str = "gpt2"
    """Or ``llama``: SentencePiece."""
    kind: str = "qwen2"
    adds_bos: bool = False
    special_type: int = TokenType.CONTROL
    adds_blank: bool = False
    """Whether its tokenizer puts a blank before every text."""
    n_unused: int = 0
    """Empty rows after the special tokens."""


def write(path: Path, family: Family) -> None:
    """Write a model of this family."""
    writer = gguf.GGUFWriter(path, family.architecture)
    writer.add_name(family.name)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(1)
    writer.add_feed_forward_length(D_FF)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(1 if family.architecture == "starcoder" else N_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_layer_norm_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    tokens, types = _vocabulary(family)
    writer.add_tokenizer_model(family.tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if family.tokenizer == "llama":
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_add_space_prefix(family.adds_blank)
    else:
        writer.add_tokenizer_pre(family.kind)
        writer.add_token_merges(_merges())
    writer.add_vocab_size(len(tokens))
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(1 if family.adds_bos else 0)
    writer.add_add_bos_token(family.adds_bos)
    roles = {"pre": 0, "suf": 1, "mid": 2, "pad": 3, "rep": 4, "sep": 5}
    sentinels = family.special[2 if family.adds_bos else 1 :]
    for role in family.named:
        writer.add_uint32(
            f"tokenizer.ggml.fim_{role}_token_id", tokens.index(sentinels[roles[role]])
        )
    for name, tensor in _tensors(family.architecture, len(tokens)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(family: Family) -> tuple[list[str], list[int]]:
    special = list(family.special)
    unused = [f"<unused_row_{i}>" for i in range(family.n_unused)]
    if family.tokenizer == "llama":
        letters = [f"<0x{value:02X}>" for value in range(256)]
        words = ["▁", *(f"▁{word}" for word in _WORDS if word.strip()), *map(chr, range(33, 127))]
        words = [word for word in words if word not in special]
        letter_type = TokenType.BYTE
    else:
        alphabet = byte_alphabet()
        letters = [alphabet[value] for value in range(256)]
        words = [merge.replace(" ", "") for merge in _merges()]
        letter_type = TokenType.NORMAL
    words = list(dict.fromkeys(words))
    tokens = [*special, *unused, *letters, *words]
    types = [
        *[int(family.special_type)] * len(special),
        *[int(TokenType.UNUSED)] * len(unused),
        *[int(letter_type)] * len(letters),
        *[int(TokenType.NORMAL)] * len(words),
    ]
    return tokens, types


def _merges() -> list[str]:
    """Each word grows from a blank, letter by letter."""
    alphabet = byte_alphabet()
    spelled = ["".join(alphabet[byte] for byte in f" {word}".encode()) for word in _WORDS]
    return list(dict.fromkeys(f"{w[:n]} {w[n]}" for w in spelled for n in range(1, len(w))))


def _tensors(architecture: str, n_vocab: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)

    def drawn(*shape: int) -> np.ndarray:
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    def norm() -> np.ndarray:
        return np.ones(D_MODEL, np.float32)

    tensors = {"token_embd.weight": drawn(n_vocab, D_MODEL), "output_norm.weight": norm()}
    if architecture == "starcoder":
        head = D_MODEL // N_HEADS
        n_qkv = D_MODEL + 2 * head
        shapes = {"attn_qkv": n_qkv, "attn_output": D_MODEL, "ffn_up": D_FF, "ffn_down": D_MODEL}
        tensors |= {
            "position_embd.weight": drawn(CONTEXT_TOKENS, D_MODEL),
            "output_norm.bias": 0 * norm(),
            **{f"blk.0.{name}.weight": norm() for name in ("attn_norm", "ffn_norm")},
            **{f"blk.0.{name}.bias": 0 * norm() for name in ("attn_norm", "ffn_norm")},
            **{f"blk.0.{name}.bias": np.zeros(n, np.float32) for name, n in shapes.items()},
            **{
                f"blk.0.{name}.weight": drawn(n, D_FF if name == "ffn_down" else D_MODEL)
                for name, n in shapes.items()
            },
        }
        return tensors
    square = ("attn_q", "attn_k", "attn_v", "attn_output")
    return tensors | {
        "output.weight": drawn(n_vocab, D_MODEL),
        **{f"blk.0.{name}.weight": norm() for name in ("attn_norm", "ffn_norm")},
        **{f"blk.0.{name}.weight": drawn(D_MODEL, D_MODEL) for name in square},
        **{f"blk.0.{name}.weight": drawn(D_FF, D_MODEL) for name in ("ffn_gate", "ffn_up")},
        "blk.0.ffn_down.weight": drawn(D_MODEL, D_FF),
    }
