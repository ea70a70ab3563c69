"""Time and peak memory of our conversion to GGUF f16 against llama.cpp's own converter.

Both convert the same folders, in turns, each time in a process of its own: bf16 safetensors of
random weights in exactly the shapes of StarCoderBase-1B and StarCoder2-3B with their layers cut
down, under the published StarCoder2 vocabulary that lies among llama.cpp's test files. Ours also
compares token ids with llama.cpp and waits until the file is on the disk, which the rival does
not. The files are then held against each other, value by value. A third folder has a tokenizer that
was trained here, as everybody's own model has.

    make rivals
    python bench/quantize_conversion.py --layers 24 --only StarCoderBase-1B --rounds 3
"""

import argparse
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.gguf_reader import GGUFReader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report
from quantize.architectures import architecture_of
from train.samples.tokenizer import save_tokenizer, train_tokenizer

RIVAL = REPOSITORY / "build/rivals/llama.cpp"
_VOCABULARY = RIVAL / "models/ggml-vocab-starcoder.gguf"
_MB = 1_000_000
_N_DRAWN = 4_000_037  # A prime: no two rows are alike.

# Not `ru_maxrss`: a new process begins with that of the one that started it.
_PEAK = """
import atexit, sys
from pathlib import Path

def tell():
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))

atexit.register(tell)
"""

_OURS = (
    _PEAK
    + """
from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf

checkpoint = open_checkpoint(Path(sys.argv[1]))
write_gguf(checkpoint, Path(sys.argv[2]), float_type=FloatType.F16)
"""
)

_RIVAL = (
    _PEAK
    + """
import runpy

del sys.argv[0]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
)

_END = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True}
MODELS: dict[str, dict[str, Any]] = {
    "StarCoderBase-1B": {
        "architectures": ["GPTBigCodeForCausalLM"], "model_type": "gpt_bigcode",
        "activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-5, "n_embd": 2048,
        "n_head": 16, "n_inner": 8192, "n_layer": 24, "n_positions": 8192, "multi_query": True,
        "vocab_size": 49152, **_END,
    },
    "StarCoder2-3B": {
        "architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2",
        "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3072, "intermediate_size": 12288,
        "max_position_embeddings": 16384, "norm_epsilon": 1e-5, "num_attention_heads": 24,
        "num_hidden_layers": 30, "num_key_value_heads": 2, "rope_theta": 999999.4420358813,
        "sliding_window": 4096, "use_bias": True, "vocab_size": 49152, **_END,
    },
    # StarCoder2 once more: for Qwen the rival would ask for the package sentencepiece first.
    "own tokenizer": {
        "architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2",
        "hidden_act": "gelu_pytorch_tanh", "hidden_size": 256, "intermediate_size": 768,
        "max_position_embeddings": 1024, "norm_epsilon": 1e-5, "num_attention_heads": 4,
        "num_hidden_layers": 6, "num_key_value_heads": 1, "rope_theta": 1e5,
        "sliding_window": None, "use_bias": True, "vocab_size": 2048, **_END,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One process."""

    seconds: float
    peak_mb: float
    error: str | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=2, help="at most, of each model [2]")
    parser.add_argument("--rounds", type=int, default=3, help="conversions by each side [3]")
    parser.add_argument("--only", choices=MODELS, help="one of the models")
    parser.add_argument("--json", action="store_true", help="JSON instead of Markdown")
    arguments = parser.parse_args()
    if not _VOCABULARY.is_file():
        print("llama.cpp's converter is not there: run `make rivals` first", file=sys.stderr)
        sys.exit(2)
    report = Report(title="Conversion to GGUF f16 against llama.cpp's convert_hf_to_gguf.py")
    with tempfile.TemporaryDirectory(prefix="conversion-", dir=REPOSITORY / "build") as work:
        for name in [arguments.only] if arguments.only else MODELS:
            folder = Path(work) / name.replace(" ", "-")
            size_mb = write_checkpoint(folder, name, arguments.layers) / _MB
            compare(report, f"{name}, {size_mb:,.0f} MB", folder, arguments.rounds)
    report.show(as_json=arguments.json)


def compare(report: Report, title: str, folder: Path, n_rounds: int) -> None:
    """Both sides in turns; medians, and the ratio of neighbours."""
    ours_file, rival_file = folder / "ours.gguf", folder / "rival.gguf"
    ours_command = [sys.executable, "-c", _OURS, str(folder), str(ours_file)]
    rival_command = [
        sys.executable, "-c", _RIVAL, str(RIVAL / "convert_hf_to_gguf.py"), str(folder),
        "--outfile", str(rival_file), "--outtype", "f16",
    ]  # fmt: skip
    ours: list[Run] = []
    rivals: list[Run] = []
    for _ in range(n_rounds):
        ours.append(run(ours_command))
        rivals.append(run(rival_command))
        if ours[-1].error:
            raise SystemExit(f"our conversion of {title} failed: {ours[-1].error}")
    failure = next((one.error for one in rivals if one.error), None)
    if failure:
        report.notes.append(f"{title}: llama.cpp's converter cannot convert it ({failure}).")
        report.fact(f"{title}: time", _median(ours, "seconds"), "s")
        report.fact(f"{title}: peak memory", _median(ours, "peak_mb"), "MB")
        return
    for what, unit in (("seconds", "s"), ("peak_mb", "MB")):
        label = {"seconds": "time", "peak_mb": "peak memory"}[what]
        report.ratio_at_most(
            f"{title}: {label}", _median(ours, what), _median(rivals, what), 1.0, unit
        )
    seconds = [our.seconds / rival.seconds for our, rival in zip(ours, rivals, strict=True)]
    report.notes.append(
        f"{title}: time ratio of each round {', '.join(f'{ratio:.2f}' for ratio in seconds)}; "
        f"{difference(ours_file, rival_file)}."
    )


def run(command: list[str]) -> Run:
    """Wall time, peak resident memory, and the last line of what went wrong."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - started
    peak_mb = int(done.stdout.split()[-1]) * 1024 / _MB
    lines = done.stderr.strip().splitlines() or ["it said nothing"]
    return Run(seconds, peak_mb, lines[-1] if done.returncode else None)


def difference(ours: Path, rival: Path) -> str:
    """How far the two files are apart, in words."""
    theirs = {tensor.name: tensor for tensor in GGUFReader(rival).tensors}
    largest, n_alike, n_wider = 0.0, 0, 0
    for tensor in GGUFReader(ours).tensors:
        other = theirs.pop(tensor.name)
        apart = 0.0
        for first in range(0, len(tensor.data), 4096):
            rows = slice(first, first + 4096)
            gap = np.abs(tensor.data[rows].astype(np.float32) - other.data[rows])
            apart = max(apart, float(gap.max()))
        n_wider += other.n_bytes > tensor.n_bytes
        n_alike += apart == 0.0
        largest = max(largest, apart)
    return (
        f"{n_alike} tensors have the same values, {n_wider} take less room in ours, "
        f"{len(theirs)} only the rival has; the largest difference is {largest:.2g}"
    )


def write_checkpoint(folder: Path, name: str, n_layers: int) -> int:
    """A folder as Hugging Face has it, of random bf16 weights; the bytes of the weights."""
    folder.mkdir()
    config = dict(MODELS[name])
    layers = "n_layer" if "n_layer" in config else "num_hidden_layers"
    config[layers] = min(config[layers], n_layers)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if name == "own tokenizer":
        texts = [path.read_text("utf-8") for path in sorted(REPOSITORY.glob("runtime/*.py"))]
        save_tokenizer(train_tokenizer(texts, config["vocab_size"]), folder / "tokenizer.json")
    else:
        (folder / "tokenizer.json").write_text(_starcoder_tokenizer(), encoding="utf-8")
    spelled = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(spelled), encoding="utf-8")
    architecture = architecture_of(config)
    tensors = architecture.named_tensors(architecture.read(config))
    shapes = {source.name: source.shape for tensor in tensors for source in tensor.sources}
    header, end = {}, 0
    for tensor, shape in shapes.items():
        first, end = end, end + 2 * math.prod(shape)
        header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [first, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for piece in _random_bf16(end // 2):
            piece.tofile(file)
    return end


def _random_bf16(n_values: int) -> Iterator[np.ndarray]:
    drawn = np.random.default_rng(0).normal(0, 0.02, _N_DRAWN).astype(np.float32)
    bits = (drawn.view(np.uint32) >> 16).astype("<u2")
    for first in range(0, n_values, _N_DRAWN):
        yield bits[: n_values - first]


def _starcoder_tokenizer() -> str:
    """tokenizer.json of StarCoder2, put together again from llama.cpp's copy of its vocabulary."""
    fields = GGUFReader(_VOCABULARY).fields

    def read(key: str) -> Any:
        return fields[f"tokenizer.ggml.{key}"].contents()

    tokens = read("tokens")
    added = [
        {
            "id": token_id, "content": tokens[token_id], "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": True,
        }
        for token_id, kind in enumerate(read("token_type")) if kind == 3
    ]  # fmt: skip
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True,
    }  # fmt: skip
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "post_processor": byte_level, "decoder": byte_level,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {text: token_id for token_id, text in enumerate(tokens)},
            "merges": read("merges"),
        },
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False)


def _median(runs: list[Run], what: str) -> float:
    return statistics.median(getattr(one, what) for one in runs)


if __name__ == "__main__":
    main()
