"""Guards the user against a model file that was made to hurt: it is refused in one sentence before
llama.cpp, which would end the process, has seen it. A failure would be an editor whose completions
die again and again, or a terminal that does what a file name says.
"""

import random
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bundle import default_bundle_directory
from runtime.chat_template import TemplateError, render
from runtime.errors import BundleError
from runtime.gguf_check import read_for_llama
from tests.fuzz.gguf_parts import ARRAY, F32, STRING, U32, Parts, string, strings, u32

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[Parts], object]


def floats(number: float) -> bytes:
    return struct.pack("<f", number)


def number(key: str, value: int) -> Change:
    return lambda parts: parts.set(key, U32, u32(value))


def real(key: str, value: float) -> Change:
    return lambda parts: parts.set(key, F32, floats(value))


def text(key: str, value: bytes) -> Change:
    return lambda parts: parts.set(key, STRING, string(value))


def kind_of(n_dimensions: int, kind: int) -> Change:
    """All tensors of so many dimensions of another type, as zeros where that is larger."""

    def change(parts: Parts) -> None:
        at = 0
        for tensor in parts.tensors:
            if len(tensor.shape) == n_dimensions:
                tensor.kind = kind
            tensor.offset = at
            at += 1 << 20
        parts.data = bytes(at)

    return change


def tokens(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def changed(parts: Parts) -> None:
        parts.set("tokenizer.ggml.tokens", ARRAY, strings(change(parts.texts("tokens"))))

    return changed


# Each ended llama.cpp 0.3.36's process, hung it, or had it read beyond a list.
MALICIOUS: dict[str, Change] = {
    "two tokens alike": tokens(lambda all_: [*all_[:-1], all_[0]]),
    "two tokens alike up to a zero": tokens(lambda all_: [*all_[:-1], all_[0] + b"\0x"]),
    "an empty token and its name": tokens(lambda all_: [b"", *all_[1:-1], b"[EMPTY_0]"]),
    "an architecture that ends early": text("general.architecture", b"qwen3\0x"),
    "tokens that are numbers": lambda parts: parts.set(
        "tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", U32, 3) + bytes(12)
    ),
    "types for fewer tokens": lambda parts: parts.set(
        "tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", 5, 1) + u32(1)
    ),
    "types that are bytes": lambda parts: parts.set(
        "tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", 0, 3) + bytes(3)
    ),
    "scores for fewer tokens": lambda parts: parts.set(
        "tokenizer.ggml.scores", ARRAY, struct.pack("<IQ", F32, 1) + floats(0)
    ),
    "merges that are no list": number("tokenizer.ggml.merges", 1),
    "no vocabulary at all": text("tokenizer.ggml.model", b"no_vocab"),
    "a tokenizer that never ends": text("tokenizer.ggml.model", b"rwkv"),
    "SentencePiece without bytes": text("tokenizer.ggml.model", b"llama"),
    "no layers": number("qwen3.block_count", 0),
    "65,536 layers": number("qwen3.block_count", 65_536),
    "more further layers than layers": number("qwen3.nextn_predict_layers", 63),
    "experts of which none is used": number("qwen3.expert_count", 3),
    "more experts used than there are": number("qwen3.expert_used_count", 5),
    "half of a head rotated": number("qwen3.rope.dimension_count", 31),
    "heads of two widths": number("qwen3.attention.value_length", 32),
    "positions scaled by nonsense": text("qwen3.rope.scaling.type", b"x"),
    "a negative epsilon": real("qwen3.attention.layer_norm_rms_epsilon", -1.0),
    "an epsilon that is no number": real("qwen3.attention.layer_norm_rms_epsilon", float("nan")),
    "a layer without heads": lambda parts: parts.set(
        "qwen3.attention.head_count_kv", ARRAY, struct.pack("<IQII", U32, 2, 1, 0)
    ),
    "layers with more heads": lambda parts: parts.set(
        "qwen3.attention.head_count_kv", ARRAY, struct.pack("<IQII", U32, 2, 1, 2)
    ),
    "no heads": number("qwen3.attention.head_count", 0),
    "an infinite base": real("qwen3.rope.freq_base", float("inf")),
    "norms of 4 bits": kind_of(1, 2),
    "norms in float16": kind_of(1, 1),
    "norms in bfloat16": kind_of(1, 30),
    "matrices of whole numbers": kind_of(2, 26),
    "matrices of doubles": kind_of(2, 28),
    "matrices of activations": kind_of(2, 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tiny_gguf: Path) -> Parts:
    return Parts.of(tiny_gguf)


@pytest.mark.parametrize("name", MALICIOUS)
def test_what_ends_llama_cpp_is_refused(name: str, sound: Parts, tmp_path: Path) -> None:
    parts, path = sound.copy(), tmp_path / "model.gguf"
    MALICIOUS[name](parts)
    parts.write(path)
    with pytest.raises(BundleError) as refused:
        read_for_llama(path)
    message = str(refused.value)
    assert message.isprintable() and ": " in message and len(message) < 500


def test_the_further_files_of_a_split_model_are_checked(sound: Parts, tmp_path: Path) -> None:
    """llama.cpp opens them by itself, beside the file that it was given."""
    first, second = sound.copy(), sound.copy()
    first.set("split.count", U32, u32(2))
    second.pairs = []
    paths = [tmp_path / f"model-0000{number}-of-00002.gguf" for number in (1, 2)]
    first.write(paths[0])
    with pytest.raises(BundleError, match="no model file .*00002-of-00002"):
        read_for_llama(paths[0])
    second.write(paths[1])
    read_for_llama(paths[0])
    kind_of(2, 26)(second)
    second.write(paths[1])
    with pytest.raises(BundleError, match="00002-of-00002.* has the type 26"):
        read_for_llama(paths[0])
    paths[0].rename(tmp_path / "other.gguf")
    with pytest.raises(BundleError, match="name the first, which ends in -00001-of-00002"):
        read_for_llama(tmp_path / "other.gguf")


def test_sound_models_pass(sound: Parts, tiny_gguf: Path, tmp_path: Path) -> None:
    default = default_bundle_directory() / "model.gguf"
    again = tmp_path / "again.gguf"
    sound.write(again)
    for path in (tiny_gguf, default, again):
        read_for_llama(path)


def test_sentencepiece_with_its_bytes_passes(sound: Parts, tmp_path: Path) -> None:
    """As in CodeLlama: a token for each byte, scores, and no merges."""
    parts, path = sound.copy(), tmp_path / "model.gguf"
    spelled = [b"<0x%02X>" % byte for byte in range(256)]
    n_tokens = len(spelled)
    parts.set("tokenizer.ggml.model", STRING, string(b"llama"))
    parts.set("tokenizer.ggml.tokens", ARRAY, strings(spelled))
    parts.set(
        "tokenizer.ggml.scores", ARRAY, struct.pack("<IQ", F32, n_tokens) + bytes(4 * n_tokens)
    )
    parts.set(
        "tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", 5, n_tokens) + u32(6) * n_tokens
    )
    parts.write(path)
    read_for_llama(path)


def test_the_user_sees_one_printable_sentence(sound: Parts, tmp_path: Path) -> None:
    """The name of a tensor, and that of the file, are written by whoever made them."""
    parts, path = sound.copy(), tmp_path / "a\x1b[2Jb\u202e.gguf"
    parts.tensors[0].name, parts.tensors[0].kind = b"\x1b]0;owned\x07", 26
    parts.write(path)
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    command = [sys.executable, "-m", "starling", "complete", "--bundle", str(path), f"{source}:1"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode in (1, 2), done
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    assert done.stderr.rstrip("\n").isprintable() and "Traceback" not in done.stderr


TEMPLATES = {
    "the interpreter's own classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a helper": "{{ cycler.__init__.__globals__ }}{{ lipsum.__globals__['os'] }}",
    "a file": "{% include '/etc/passwd' %}",
    "a text of ten thousand million characters": "{{ 'a' * 10**10 }}",
    "a number as wide": "{{ '%10000000000d' % 1 }}",
    "a text that doubles": "{% set x = namespace(v='ab') %}{% for i in range(60) %}"
    "{% set x.v = x.v ~ x.v %}{% endfor %}",
    "a macro without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "loops inside each other": "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}"
    "{% endfor %}",
    "too much to read": "{{ 'word ' * 10**6 }}",
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chat_template_reaches_nothing_and_ends(name: str) -> None:
    started_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(TemplateError):
        render(TEMPLATES[name], [{"role": "user", "content": "x"}], bos="", eos="")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - started_s < 5


def test_mutated_models_never_end_the_process(tiny_gguf: Path) -> None:
    """A few of what `python -m tests.fuzz.models` tries by the thousand."""
    if sys.platform == "win32":
        pytest.skip("processes are forked")
    seed = random.randrange(10**6)
    command = [sys.executable, "-m", "tests.fuzz.models", "--model", str(tiny_gguf)]
    command += ["--count", "60", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode == 0, f"{seed=}\n{done.stdout}\n{done.stderr[-2000:]}"
    assert "'used'" in done.stdout and "'refused by our check'" in done.stdout, done.stdout
