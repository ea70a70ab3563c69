"""What llama.cpp takes for granted of a model, and ends the process over where it is not so.

`gguf_header` has held every length against the file. Here stands what the numbers, names and types
must say together: each rule is an assertion of llama.cpp 0.3.36's vocabulary, hyperparameters or
kernels that a mutated copy of a sound model ran into (`python -m tests.fuzz.models`). The rules
hold for every architecture, but for those on heads, which are of `_PLAIN_ATTENTION` only.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from runtime.errors import BundleError
from runtime.gguf_header import STRING, TOKENS_KEY, GgufHeader, read_header

_FLOAT32, _INT32 = 6, 5
# Of lists that llama.cpp reads as such without asking.
_ITEM_KINDS = {
    TOKENS_KEY: (STRING,),
    "tokenizer.ggml.merges": (STRING,),
    "tokenizer.ggml.scores": (_FLOAT32,),
    "tokenizer.ggml.token_type": (_INT32, 4),
}
_AS_LONG_AS_TOKENS = ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")
# Byte-level BPE and SentencePiece: what models of code have. llama.cpp's others fall over bytes
# that their vocabulary lacks, and its code for RWKV's never ends with a foreign one.
_TOKENIZERS = ("gpt2", "llama", "gemma4")
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_MAX_LAYERS = 512
_MAX_FILES = 1_000

# ggml's numbers: what is added to or multiplied with activations must be float32, as every writer
# makes it; no matrix may be of whole numbers, doubles, or one of two forms of activations alone.
_VECTOR_KIND = 0
_NO_MATRIX_KINDS = (9, 15, 24, 25, 26, 27, 28)

# Whose graphs assert that heads are as wide for keys as for values, and rotated whole.
_PLAIN_ATTENTION = (
    "codeshell", "gemma", "gemma2", "granite", "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe",
    "starcoder", "starcoder2",
)  # fmt: skip


def read_for_llama(path: Path) -> GgufHeader:
    """The head of a model that llama.cpp may see; raises BundleError for one that it would not
    merely refuse, but fall over.

    llama.cpp also reads the further files of a model that is split, so they are checked as well.
    """
    header = read_header(path, with_tokens=True)
    _refuse(_problems(header), path)
    for other in _further_files(header, path):
        _refuse(_of_tensors(read_header(other)), other)
    return header


def _refuse(problems: Iterator[str], path: Path) -> None:
    for problem in problems:
        raise BundleError(
            f"{path} contradicts itself ({problem}): download or export the model again"
        )


def _further_files(header: GgufHeader, path: Path) -> Iterator[Path]:
    """Those that llama.cpp finds beside the first one, by their names."""
    n_files = header.metadata.get("split.count", 0)
    if not isinstance(n_files, int) or n_files <= 1:
        return
    if n_files > _MAX_FILES:
        raise BundleError(f"{path} is said to have {n_files:,} parts: download the model again")
    ending = f"-00001-of-{n_files:05d}.gguf"
    if not path.name.endswith(ending):
        raise BundleError(
            f"{path} is one of the {n_files} files of a model: name the first, which ends in "
            f"{ending}"
        )
    for number in range(2, n_files + 1):
        yield path.with_name(f"{path.name.removesuffix(ending)}-{number:05d}-of-{n_files:05d}.gguf")


def _problems(header: GgufHeader) -> Iterator[str]:
    yield from _of_vocabulary(header)
    yield from _of_numbers(header)
    yield from _of_tensors(header)


def _of_vocabulary(header: GgufHeader) -> Iterator[str]:
    tokenizer = header.metadata.get("tokenizer.ggml.model")
    if tokenizer not in _TOKENIZERS:
        kinds_known = " or ".join(_TOKENIZERS)
        yield f"its tokenizer is of the kind {str(tokenizer)[:40]!r}, not {kinds_known}"
    for key, kinds in _ITEM_KINDS.items():
        array = header.arrays.get(key)
        if array is None:
            if key in header.metadata:
                yield f"{key} is no list"
            continue
        if array.kind not in kinds:
            yield f"{key} is a list of the kind {array.kind}"
        if key in _AS_LONG_AS_TOKENS and array.n_items != len(header.tokens):
            yield f"{key} has {array.n_items:,} items for {len(header.tokens):,} tokens"
    spelled = set(header.tokens)
    if b"" in spelled or any(0 in token for token in header.tokens):
        # llama.cpp reads up to a zero byte, and gives empty ones a name.
        spelled = {
            token.partition(b"\0")[0] or b"[EMPTY_%d]" % token_id
            for token_id, token in enumerate(header.tokens)
        }
    if len(spelled) < len(header.tokens):
        yield "two of its tokens are spelled alike"
    if tokenizer == "llama":
        missing = {b"<0x%02X>" % byte for byte in range(256)}.difference(spelled)
        # A byte may also stand for itself.
        if any(bytes([int(token[3:5], 16)]) not in spelled for token in missing):
            yield "its vocabulary lacks bytes"


def _of_numbers(header: GgufHeader) -> Iterator[str]:
    """What `ARCHITECTURE.*` says of the network."""
    architecture = str(header.metadata.get("general.architecture", ""))
    numbers = {
        key.removeprefix(f"{architecture}."): value
        for key, value in header.metadata.items()
        if key.startswith(f"{architecture}.")
    }
    for name, value in numbers.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value}"
    n_layers = _at(numbers, "block_count", 1)
    if not 1 <= n_layers <= _MAX_LAYERS:
        yield f"it has {n_layers:,} layers"
    if _at(numbers, "nextn_predict_layers", 0) > n_layers:
        yield "more layers predict further tokens than there are"
    n_experts, n_used = _at(numbers, "expert_count", 0), _at(numbers, "expert_used_count", 0)
    if n_used > n_experts or (n_experts and not n_used):
        yield f"{n_used:,} of its {n_experts:,} experts are used"
    scaling = numbers.get("rope.scaling.type", "none")
    if scaling not in _ROPE_SCALINGS:
        yield f"its positions are scaled by {str(scaling)[:40]!r}"
    for name, value in numbers.items():
        if name.endswith("epsilon") and not (isinstance(value, float) and value >= 0):
            yield f"{name} is {value!r}"
    if architecture in _PLAIN_ATTENTION:
        yield from _of_heads(numbers)


def _of_heads(numbers: Mapping[str, object]) -> Iterator[str]:
    for name in ("attention.head_count", "attention.head_count_kv"):
        # Other architectures have layers that differ; the graphs of these take the first for all.
        counts = numbers.get(name, 1)
        listed = counts if isinstance(counts, list) else [counts]
        if not listed or not listed[0] or any(count != listed[0] for count in listed):
            yield f"{name} is {str(counts)[:80]}"
    n_heads = max(1, _at(numbers, "attention.head_count", 1))
    head_width = _at(numbers, "embedding_length", 0) // n_heads
    widths = {
        _at(numbers, "attention.key_length", head_width),
        _at(numbers, "attention.value_length", head_width),
    }
    widths.add(_at(numbers, "rope.dimension_count", min(widths)))
    if len(widths) > 1:
        yield f"its heads are {' and '.join(map(str, sorted(widths)))} numbers wide"


def _of_tensors(header: GgufHeader) -> Iterator[str]:
    for tensor in header.tensors:
        is_vector = math.prod(tensor.shape[1:]) == 1
        if tensor.kind in _NO_MATRIX_KINDS or (is_vector and tensor.kind != _VECTOR_KIND):
            yield (
                f"tensor {tensor.name[:80]!r} has the type {tensor.kind}, which is none for weights"
            )


def _at(numbers: Mapping[str, object], name: str, default: int) -> int:
    """A whole number; where there is one for each layer, llama.cpp checks them itself."""
    value = numbers.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
