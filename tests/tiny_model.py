"""A tiny random Qwen3-architecture GGUF, made in a second: a real model for tests of the runtime.

Its text is nonsense, but it depends on the whole prompt, so a wrong token in the KV cache changes
it. The vocabulary is ours in small: the special tokens first, the 256 bytes, then merges learned
from the sample below (with a few characters of two, three and four bytes, whole and in halves).
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from runtime.fim import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PAD,
    FIM_PREFIX,
    FIM_SUFFIX,
    REPO_NAME,
    SPECIAL_TOKENS,
    Order,
)
from runtime.spec import ModelSpec

N_LAYERS, D_MODEL, D_FF, N_HEADS, N_KV_HEADS, HEAD_DIM = 2, 64, 128, 2, 1, 64
MAX_MERGES = 400
CONTEXT_TOKENS = 1024
ROPE_THETA, NORM_EPS = 10_000.0, 1e-6
CORPUS_ID = "0" * 64

_SAMPLE = '''\
import os
import sys
from collections import Counter


class Reader:
    """Reads a file line by line, and says how many lines it has read."""

    def __init__(self, path, limit=100):
        self.path = path
        self.limit = limit
        self.count = 0

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                if self.count >= self.limit:
                    return None
                self.count += 1
                yield line.rstrip("\\n")


def total(numbers):
    result = 0
    for number in numbers:
        if number is None:
            continue
        result = result + number
    return result


def main(argv):
    if len(argv) != 2:
        print("usage: reader FILE", file=sys.stderr)
        return 2
    for line in Reader(argv[1]).read():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))


# café naïve déjà café naïve déjà 日本語 日本語 日本 日本 😀😀 😀😀 😁😁
'''

# The Qwen2 split pattern for the sample's alphabet; `re` has no \p classes, so letters are spelled.
_WORD = re.compile(r"[^\r\n\w]?[^\W\d_]+|\d| ?[^\s\w]+[\r\n]*|_|\s*[\r\n]+|\s+(?!\S)|\s+")


def write(
    path: Path, *, seed: int = 1, name: str = "tiny-random", chat_template: str = ""
) -> ModelSpec:
    """Write the model to `path`; the same seed gives the same bytes."""
    tokens, merges = vocabulary()
    tensors = _tensors(tokens, np.random.default_rng(seed))
    spec = spec_of(
        tokens,
        tensors,
        name=name,
        n_layers=N_LAYERS,
        d_model=D_MODEL,
        d_ff=D_FF,
        n_heads=N_HEADS,
        n_kv_heads=N_KV_HEADS,
        head_dim=HEAD_DIM,
        context_tokens=CONTEXT_TOKENS,
        corpus_id=CORPUS_ID,
    )
    write_gguf(path, spec, tokens, merges, tensors, chat_template=chat_template)
    return spec


def vocabulary() -> tuple[list[str], list[str]]:
    """Token spellings (GPT-2's byte alphabet) and merges, in id order."""
    alphabet = byte_alphabet()
    words = Counter(
        tuple(alphabet[byte] for byte in word.encode()) for word in _WORD.findall(_SAMPLE)
    )
    merges: list[tuple[str, str]] = []
    while len(merges) < MAX_MERGES:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = Counter({_merged(word, best): count for word, count in words.items()})
    joined = dict.fromkeys(first + second for first, second in merges)
    tokens = [*SPECIAL_TOKENS, *(alphabet[byte] for byte in range(256)), *joined]
    return tokens, [f"{first} {second}" for first, second in merges]


def spec_of(tokens: list[str], tensors: dict[str, np.ndarray], **values: Any) -> ModelSpec:
    """`values` and what all models made by tests have in common."""
    return ModelSpec(
        architecture="qwen3",
        n_params=sum(tensor.size for tensor in tensors.values()),
        vocab_size=len(tokens),
        rope_theta=ROPE_THETA,
        norm_eps=NORM_EPS,
        fim_order=Order.SPM,
        languages=("python",),
        tokenizer_sha256="0" * 64,
        recipe="made-by-tests",
        code_commit="unknown",
        **values,
    )


def write_gguf(
    path: Path,
    spec: ModelSpec,
    tokens: list[str],
    merges: list[str],
    tensors: dict[str, np.ndarray],
    *,
    chat_template: str = "",
) -> None:
    """Any model of our vocabulary's shape."""
    writer = gguf.GGUFWriter(path, spec.architecture)
    _add_metadata(writer, spec, tokens, merges)
    if chat_template:
        writer.add_chat_template(chat_template)
    for tensor_name, tensor in tensors.items():
        writer.add_tensor(tensor_name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_numbers(writer: gguf.GGUFWriter, of: Any, tokens: list[str], merges: list[str]) -> None:
    """Of a ModelSpec, or of what has its names; and a byte-level vocabulary."""
    writer.add_context_length(of.context_tokens)
    writer.add_embedding_length(of.d_model)
    writer.add_block_count(of.n_layers)
    writer.add_feed_forward_length(of.d_ff)
    writer.add_head_count(of.n_heads)
    writer.add_head_count_kv(of.n_kv_heads)
    writer.add_rope_freq_base(of.rope_theta)
    writer.add_layer_norm_rms_eps(of.norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)


def byte_alphabet() -> list[str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def _is_text(token: str) -> bool:
    byte_of = {letter: byte for byte, letter in enumerate(byte_alphabet())}
    try:
        bytes(byte_of.get(letter, 0) for letter in token).decode()
    except UnicodeDecodeError:
        return False
    return True


def _tensors(tokens: list[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    n_vocab = len(tokens)

    def matrix(n_out: int, n_in: int, gain: float = 1.0) -> np.ndarray:
        scale = gain / np.sqrt(n_in)
        return (scale * rng.standard_normal((n_out, n_in))).astype(np.float32)

    def ones(n: int) -> np.ndarray:
        return np.ones(n, dtype=np.float32)

    embedding_VD = rng.standard_normal((n_vocab, D_MODEL)).astype(np.float32)
    output_VD = matrix(n_vocab, D_MODEL, gain=3.0)
    # Sentinels and parts of characters get flat logits, so that the nonsense is text, and goes on.
    quiet = [
        token_id
        for token_id, token in enumerate(tokens)
        if token in SPECIAL_TOKENS[1:] or not _is_text(token)
    ]
    output_VD[quiet] *= 0.05
    tensors = {
        "token_embd.weight": embedding_VD,
        "output.weight": output_VD,
        "output_norm.weight": ones(D_MODEL),
    }
    for layer in range(N_LAYERS):
        block = f"blk.{layer}."
        tensors |= {
            block + "attn_norm.weight": ones(D_MODEL),
            block + "attn_q.weight": matrix(N_HEADS * HEAD_DIM, D_MODEL),
            block + "attn_k.weight": matrix(N_KV_HEADS * HEAD_DIM, D_MODEL),
            block + "attn_v.weight": matrix(N_KV_HEADS * HEAD_DIM, D_MODEL),
            block + "attn_output.weight": matrix(D_MODEL, N_HEADS * HEAD_DIM, gain=4.0),
            block + "attn_q_norm.weight": ones(HEAD_DIM),
            block + "attn_k_norm.weight": ones(HEAD_DIM),
            block + "ffn_norm.weight": ones(D_MODEL),
            block + "ffn_gate.weight": matrix(D_FF, D_MODEL),
            block + "ffn_up.weight": matrix(D_FF, D_MODEL),
            block + "ffn_down.weight": matrix(D_MODEL, D_FF, gain=2.0),
        }
    return tensors


def _add_metadata(
    writer: gguf.GGUFWriter, spec: ModelSpec, tokens: list[str], merges: list[str]
) -> None:
    writer.add_name(spec.name)
    add_numbers(writer, spec, tokens, merges)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    n_special = len(SPECIAL_TOKENS)
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * n_special + [gguf.TokenType.NORMAL] * (len(tokens) - n_special)
    )
    writer.add_eos_token_id(SPECIAL_TOKENS.index(END_OF_TEXT))
    writer.add_eot_token_id(SPECIAL_TOKENS.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    for role, text in {
        "pre": FIM_PREFIX,
        "suf": FIM_SUFFIX,
        "mid": FIM_MIDDLE,
        "pad": FIM_PAD,
        "rep": REPO_NAME,
        "sep": FILE_SEP,
    }.items():
        writer.add_uint32(f"tokenizer.ggml.fim_{role}_token_id", SPECIAL_TOKENS.index(text))
    for key, value in spec.to_gguf_kv().items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint64(key, value)
            case float():
                writer.add_float64(key, value)
            case str():
                writer.add_string(key, str(value))
            case list():
                writer.add_array(key, value)
