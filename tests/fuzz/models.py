"""Mutated models, each loaded and asked in a process of its own: refused, or used; never a crash.

    python -m tests.fuzz.models --count 2000 [--seed 1] [--model PATH] [--keep FOLDER]

llama.cpp ends the process where a file contradicts itself, which would end the language server. So
every copy must be refused by our own check, refused by llama.cpp, or give a completion. Prints how
many went which way; exit status 1 when one crashed. The process forks, so it runs on Linux and
macOS only.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from runtime.bundle import default_bundle_directory
from runtime.engine import Engine, FimRequest, SamplingConfig
from runtime.errors import StarlingRuntimeError
from runtime.gguf_check import read_for_llama
from runtime.gguf_header import BLOCK_SIZES
from tests.fuzz.gguf_parts import (
    ALIGNMENT_BYTES,
    ARRAY,
    F32,
    ODD_NUMBERS,
    SIZES,
    STRING,
    U32,
    Parts,
    odd_value,
    string,
    strings,
    u32,
)

MAX_MEMORY_BYTES = 6 << 30
MAX_SECONDS = 10
USED, REFUSED_BY_US, REFUSED_BY_LLAMA, OTHER = 0, 3, 4, 5
NAMES = {USED: "used", REFUSED_BY_US: "refused by our check", REFUSED_BY_LLAMA: "refused later"}

# What a file may add to say more than its weights bear out: `%` stands for the architecture.
_MORE_KEYS = (
    "%.expert_count", "%.expert_used_count", "%.attention.sliding_window", "%.pooling_type",
    "%.rope.dimension_count", "%.rope.scaling.original_context_length", "%.nextn_predict_layers",
    "%.attention.key_length_mla", "%.attention.shared_kv_layers", "%.ssm.conv_kernel",
    "%.embedding_length_out", "%.num_loops", "split.count", "split.no", "split.tensors.count",
    "general.alignment", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.separator_token_id", "tokenizer.ggml.add_space_prefix", "%.vocab_size",
)  # fmt: skip
_MORE_FLOATS = (
    "%.rope.scaling.factor", "%.rope.scale_linear", "%.attention.scale", "%.logit_scale",
    "%.final_logit_softcapping", "%.attention.clamp_kqv", "%.rope.scaling.attn_factor",
    "%.attention.max_alibi_bias", "%.residual_scale", "%.embedding_scale",
)  # fmt: skip
_ARCHITECTURES = (
    "llama", "qwen2", "qwen3", "qwen3moe", "starcoder", "starcoder2", "gpt2", "gptneox", "gemma",
    "gemma2", "gemma3", "phi2", "phi3", "mamba", "mamba2", "rwkv6", "bert", "t5", "falcon", "bloom",
    "mpt", "deepseek", "deepseek2", "codeshell", "refact", "granite", "olmo", "clip", "jamba",
    "nomic-bert", "qwen2vl", "command-r", "minicpm", "plamo", "stablelm", "qwen", "baichuan",
    "qwen35", "lfm2", "kimi-linear", "hrm", "chatglm", "glm4", "arctic", "dbrx", "grok", "none",
)  # fmt: skip
_TOKENIZERS = (
    b"llama",
    b"bert",
    b"t5",
    b"rwkv",
    b"plamo2",
    b"none",
    b"no_vocab",
    b"gpt2",
    b"gemma4",
    b"x",
)
_TENSOR_KINDS = (0, 1, 2, 3, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 25, 26, 27, 28, 29, 30, 34, 39, 40,
                 41)  # fmt: skip

Mutation = Callable[[Parts, random.Random], str]


def _number(parts: Parts, choose: random.Random) -> str:
    short = [i for i, (_, kind, _) in enumerate(parts.pairs) if kind != ARRAY]
    at = choose.choice(short)
    key, kind, value = parts.pairs[at]
    parts.pairs[at] = (key, kind, odd_value(kind, value, choose))
    return f"{key.decode(errors='replace')} of {parts.pairs[at][2][:40]!r}"


def _array(parts: Parts, choose: random.Random) -> str:
    arrays = [i for i, (_, kind, _) in enumerate(parts.pairs) if kind == ARRAY]
    at = choose.choice(arrays)
    key, kind, value = parts.pairs[at]
    parts.pairs[at] = (key, kind, odd_value(kind, value, choose))
    return f"array {key.decode(errors='replace')} of {len(parts.pairs[at][2])} bytes"


def _kind_of_value(parts: Parts, choose: random.Random) -> str:
    at = choose.randrange(len(parts.pairs))
    key, _, _ = parts.pairs[at]
    kind = choose.choice((*SIZES, STRING, ARRAY))
    value = {STRING: string(b"x"), ARRAY: strings([b"x"] * 3)}.get(kind)
    parts.pairs[at] = (key, kind, value or bytes([1, *[0] * (SIZES[kind] - 1)]))
    return f"{key.decode(errors='replace')} of kind {kind}"


def _per_layer(parts: Parts, choose: random.Random) -> str:
    """Numbers that llama.cpp also takes as a list, one for each layer."""
    numbers = [key for key, kind, _ in parts.pairs if kind == U32 and b"." in key]
    key = choose.choice(numbers)
    items = [choose.choice((0, 1, 4, 2**31 - 1)) for _ in range(choose.choice((0, 1, 6, 7, 600)))]
    value = u32(U32) + len(items).to_bytes(8, "little") + b"".join(map(u32, items))
    parts.set(key.decode(), ARRAY, value)
    return f"{key.decode(errors='replace')} of {items[:8]}"


def _lost_pair(parts: Parts, choose: random.Random) -> str:
    key, _, _ = parts.pairs.pop(choose.randrange(len(parts.pairs)))
    return f"without {key.decode(errors='replace')}"


def _more(parts: Parts, choose: random.Random) -> str:
    architecture = parts.get("general.architecture")[8:].decode("utf-8", "replace")
    if choose.random() < 0.6:
        key = choose.choice(_MORE_KEYS).replace("%", architecture)
        number = choose.choice(ODD_NUMBERS)
        parts.set(key, U32, u32(number))
        return f"{key} = {number}"
    if choose.random() < 0.7:
        key = choose.choice(_MORE_FLOATS).replace("%", architecture)
        parts.set(key, F32, odd_value(F32, b"", choose))
        return f"{key} as {parts.get(key)!r}"
    name = choose.choice(("none", "linear", "yarn", "longrope", "x"))
    parts.set(f"{architecture}.rope.scaling.type", STRING, string(name.encode()))
    return f"rope scaling {name}"


def _architecture(parts: Parts, choose: random.Random) -> str:
    old = parts.get("general.architecture")[8:]
    new = choose.choice(_ARCHITECTURES).encode()
    if choose.random() < 0.8:
        parts.pairs = [
            (new + key[len(old) :] if key.startswith(old + b".") else key, kind, value)
            for key, kind, value in parts.pairs
        ]
    parts.set("general.architecture", STRING, string(new))
    if choose.random() < 0.3:
        parts.set(
            f"{new.decode(errors='replace')}.attention.layer_norm_epsilon", F32, b"\0\0\x80\x3f"
        )
    return f"architecture {new.decode(errors='replace')}"


def _tokenizer(parts: Parts, choose: random.Random) -> str:
    name = choose.choice(_TOKENIZERS)
    parts.set("tokenizer.ggml.model", STRING, string(name))
    if choose.random() < 0.5:
        parts.pairs = [pair for pair in parts.pairs if pair[0] != b"tokenizer.ggml.merges"]
    return f"tokenizer {name.decode(errors='replace')}"


def _tensor_kind(parts: Parts, choose: random.Random) -> str:
    tensor = choose.choice(parts.tensors)
    tensor.kind = choose.choice(_TENSOR_KINDS)
    _lay_out(parts)
    return f"{tensor.name.decode(errors='replace')} of type {tensor.kind}"


def _kind_of_all(parts: Parts, choose: random.Random) -> str:
    """Every matrix, or every vector, of one type."""
    n_dimensions = choose.choice((1, 2))
    kind = choose.choice(_TENSOR_KINDS)
    for tensor in parts.tensors:
        if len(tensor.shape) == n_dimensions:
            tensor.kind = kind
    _lay_out(parts)
    return f"all tensors of {n_dimensions} dimensions of type {kind}"


def _shape(parts: Parts, choose: random.Random) -> str:
    tensor = choose.choice(parts.tensors)
    match choose.randrange(4):
        case 0:
            tensor.shape.reverse()
        case 1:
            tensor.shape.append(choose.choice((1, 2)))
        case 2:
            at = choose.randrange(len(tensor.shape))
            tensor.shape[at] = choose.choice((*ODD_NUMBERS, tensor.shape[at] * 2))
        case _:
            tensor.shape = tensor.shape[:1]
    if choose.random() < 0.8:
        _lay_out(parts)
    return f"{tensor.name.decode(errors='replace')} of shape {tensor.shape}"


def _place(parts: Parts, choose: random.Random) -> str:
    tensor = choose.choice(parts.tensors)
    tensor.offset = choose.choice((*ODD_NUMBERS, 2**64 - ALIGNMENT_BYTES, tensor.offset + 32))
    return f"{tensor.name.decode(errors='replace')} at {tensor.offset}"


def _lost_tensor(parts: Parts, choose: random.Random) -> str:
    tensor = parts.tensors.pop(choose.randrange(len(parts.tensors)))
    return f"without tensor {tensor.name.decode(errors='replace')}"


def _renamed_tensor(parts: Parts, choose: random.Random) -> str:
    tensor = choose.choice(parts.tensors)
    old = tensor.name
    names = [one.name for one in parts.tensors]
    ends = (b"", b"x" * 63, b"x" * 64, b"x" * 5000, b"output.weight", b"blk.99.attn_q.weight",
            b"rope_freqs.weight", b"blk.0.attn_q.bias", choose.choice(names), b"\0")  # fmt: skip
    tensor.name = choose.choice(ends)
    return f"tensor {old.decode(errors='replace')} as {tensor.name[:30]!r}"


def _more_tensors(parts: Parts, choose: random.Random) -> str:
    copied = choose.choice(parts.tensors)
    name = choose.choice((b"output.weight", b"rope_freqs.weight", b"blk.0.attn_q.bias",
                          b"blk.0.attn_qkv.weight", b"blk.0.ffn_gate_inp.weight", b"cls.weight",
                          b"token_types.weight", b"position_embd.weight", b"x"))  # fmt: skip
    more = Parts([], [copied], b"").copy().tensors[0]
    more.name = name
    parts.tensors.append(more)
    _lay_out(parts)
    return f"{copied.name.decode(errors='replace')} also as {name.decode(errors='replace')}"


def _weights(parts: Parts, choose: random.Random) -> str:
    """NaN and infinities in the weights themselves."""
    data = bytearray(parts.data)
    for _ in range(choose.choice((1, 100))):
        at = choose.randrange(len(data) - 64)
        data[at : at + 64] = choose.choice((b"\xff", b"\x7f", b"\x7c")) * 64
    parts.data = bytes(data)
    return "odd weights"


def _counts(parts: Parts, choose: random.Random) -> str:
    what = choose.choice(("pairs", "tensors"))
    right = len(parts.pairs if what == "pairs" else parts.tensors)
    parts.counts[what] = choose.choice((0, right - 1, right + 1, 2**31, 2**62, 2**64 - 1))
    return f"{parts.counts[what]} {what}"


_MUTATIONS: tuple[Mutation, ...] = (
    _number, _number, _number, _array, _array, _kind_of_value, _per_layer, _lost_pair, _more, _more,
    _architecture, _tokenizer, _tensor_kind, _kind_of_all, _shape, _place, _lost_tensor,
    _renamed_tensor, _more_tensors, _weights, _counts,
)  # fmt: skip


def mutated(sound: Parts, choose: random.Random) -> tuple[Parts, str]:
    """A copy with one to three lies, and what they are."""
    parts = sound.copy()
    done = [choose.choice(_MUTATIONS)(parts, choose) for _ in range(choose.choice((1, 1, 1, 2, 3)))]
    return parts, "; ".join(done)


def _lay_out(parts: Parts) -> None:
    """Gives every tensor a place of its own, so that a wrong shape is not refused for its place."""
    at = 0
    for tensor in parts.tensors:
        n_items, n_bytes = BLOCK_SIZES.get(tensor.kind, (1, 4))
        size = 1
        for length in tensor.shape:
            size *= length
        tensor.offset = at
        at += size // n_items * n_bytes
        at += -at % ALIGNMENT_BYTES
    if at < 1 << 28:
        parts.data = parts.data.ljust(at, b"\0")


def flipped(whole: bytes, n_head_bytes: int, choose: random.Random) -> bytes:
    """The file with a few bytes of its head changed at random."""
    head = bytearray(whole[:n_head_bytes])
    for _ in range(choose.choice((1, 1, 2, 8))):
        head[choose.randrange(n_head_bytes)] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, 32, 65))
    return bytes(head) + whole[n_head_bytes:]


def outcome_of(path: Path) -> tuple[int, str]:
    """Loads and asks the model in a process of its own: how that ended, and its last words."""
    reading, writing = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.close(reading)
        _load_and_ask(path, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as words:
        said = words.read().decode("utf-8", "replace")
    status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    return status, said


def _load_and_ask(path: Path, words_fd: int) -> None:
    """Never returns: the process ends here."""
    os.dup2(words_fd, 2)
    os.environ["GGML_NO_BACKTRACE"] = "1"  # Else a debugger is started for each failed assertion.
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(MAX_SECONDS)
    status = OTHER
    try:
        status = REFUSED_BY_US
        read_for_llama(path)
        status = REFUSED_BY_LLAMA
        with Engine.load(path, n_prefill_threads=1) as engine:
            request = FimRequest(path="a.py", prefix="def total(numbers):\n    ", suffix="\n")
            if engine.info.fim is not None:
                engine.complete(request, SamplingConfig(max_tokens=4))
            else:
                engine.write(engine.tokenize("def total"), SamplingConfig(max_tokens=4))
        status = USED
    except StarlingRuntimeError as error:
        os.write(words_fd, str(error).encode("utf-8", "replace")[:2000])
    except BaseException:
        status = OTHER
        os.write(words_fd, traceback.format_exc().encode("utf-8", "replace")[-3000:])
    os._exit(status)


@click.command()
@click.option("--count", default=2000, help="Copies to try.", show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=None, help="Default: our own.")
@click.option("--keep", type=click.Path(path_type=Path), default=None, help="Where crashers go.")
def main(count: int, seed: int, model: Path | None, keep: Path | None) -> None:
    """Tries mutated copies of a model."""
    model = model or default_bundle_directory() / "model.gguf"
    sound, whole = Parts.of(model), model.read_bytes()
    n_head_bytes = len(sound.head())
    tally: Counter[str] = Counter()
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as tmp:
        path = Path(tmp) / "model.gguf"
        for number in range(count):
            choose = random.Random(f"{seed} {number}")
            if choose.random() < 0.25:
                path.write_bytes(flipped(whole, n_head_bytes, choose))
                done = "flipped bytes"
            else:
                parts, done = mutated(sound, choose)
                parts.write(path)
            status, said = outcome_of(path)
            name = NAMES.get(status, "a Python exception" if status == OTHER else "CRASHED")
            tally[name] += 1
            if status not in NAMES:
                print(f"{seed} {number}: {name} ({status}): {done}\n    {said[-600:]}", flush=True)
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, keep / f"{seed}-{number}.gguf")
    seconds = time.monotonic() - started_s
    print(f"{count} copies of {model.name} in {seconds:.0f} s: {dict(tally)}")
    sys.exit(not set(tally) <= set(NAMES.values()))


if __name__ == "__main__":
    main()
