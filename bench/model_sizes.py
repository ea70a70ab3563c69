"""Which model for which machine? Files of the true shapes, with random weights, measured here.

    python bench/model_sizes.py [--models NAME ...] [--write] [--json]

Speed and memory do not depend on the values of the weights, so the files are made here and nothing
is downloaded: real shapes, real quantization, the vocabulary filled up to its true size. Each file
is measured in a process of its own and then deleted (the largest takes 2 GB of --folder). "First
line" is what a user waits for who opens a file: 500 tokens read, 12 tokens written; at the next key
only the new tokens are read, so that suggestions while typing take about 12 tokens' decode.
--write puts the table into docs/models.md (without --models, all of it).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report, machine

DOCS_PAGE = REPOSITORY / "docs" / "models.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
N_PROMPT_TOKENS, N_LINE_TOKENS = 500, 12
# Of a prompt as long as this the rate is measured, and no longer on one model.
N_READ_TOKENS, LONGEST_S = 256, 8.0
N_CONTEXT_TOKENS = 1024
OURS = "Starling's default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A published model, as its config.json has it."""

    licence: str
    architecture: str
    """llama.cpp's name."""
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    n_vocab: int
    context_tokens: int
    ftypes: tuple[str, ...]
    rope_theta: float = 1e5
    norm_eps: float = 1e-5


SHAPES = {
    "tiny_starcoder_py 164M": Shape(
        licence="BigCode OpenRAIL-M", architecture="starcoder", n_layers=20, d_model=768,
        d_ff=3072, n_heads=12, n_kv_heads=1, n_vocab=49152, context_tokens=8192, ftypes=("Q8_0",),
    ),
    "Qwen2.5-Coder 0.5B": Shape(
        licence="Apache-2.0", architecture="qwen2", n_layers=24, d_model=896, d_ff=4864,
        n_heads=14, n_kv_heads=2, n_vocab=151936, context_tokens=32768, ftypes=("Q8_0", "Q4_0"),
    ),
    "Qwen2.5-Coder 1.5B": Shape(
        licence="Apache-2.0", architecture="qwen2", n_layers=28, d_model=1536, d_ff=8960,
        n_heads=12, n_kv_heads=2, n_vocab=151936, context_tokens=32768, ftypes=("Q8_0", "Q4_0"),
    ),
    "StarCoderBase-1B, SantaCoder": Shape(
        licence="BigCode OpenRAIL-M", architecture="starcoder", n_layers=24, d_model=2048,
        d_ff=8192, n_heads=16, n_kv_heads=1, n_vocab=49152, context_tokens=8192,
        ftypes=("Q8_0", "Q4_0"),
    ),
    "StarCoder2-3B": Shape(
        licence="BigCode OpenRAIL-M", architecture="starcoder2", n_layers=30, d_model=3072,
        d_ff=12288, n_heads=24, n_kv_heads=2, n_vocab=49152, context_tokens=16384, ftypes=("Q4_0",),
    ),
    "Granite 3B Code": Shape(
        licence="Apache-2.0", architecture="llama", n_layers=32, d_model=2560, d_ff=10240,
        n_heads=32, n_kv_heads=32, n_vocab=49152, context_tokens=2048, ftypes=("Q4_0",),
    ),
    "Qwen2.5-Coder 3B": Shape(
        licence="Qwen Research (not for business)", architecture="qwen2", n_layers=36,
        d_model=2048, d_ff=11008, n_heads=16, n_kv_heads=2, n_vocab=151936, context_tokens=32768,
        ftypes=("Q4_0",),
    ),
}  # fmt: skip
PERMISSIVE = ("Apache-2.0", "MIT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One file on this machine."""

    name: str
    licence: str
    ftype: str
    n_params: int
    size_mb: float
    rss_mb: float
    prefill_rate: float
    """Tokens per second, of a prompt of N_READ_TOKENS, on all physical cores."""
    decode_rate: float
    """Tokens per second behind that prompt, on one thread."""

    @property
    def first_line_s(self) -> float:
        """A prompt of N_PROMPT_TOKENS, read at that rate, and one line."""
        return N_PROMPT_TOKENS / self.prefill_rate + N_LINE_TOKENS / self.decode_rate


def main() -> int:
    """Makes, measures, prints."""
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    all_measured = [_measured(OURS, "Apache-2.0", "Q8_0", _default_model())]
    for name in arguments.models or SHAPES:
        shape = SHAPES[name]
        for ftype in shape.ftypes:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                path = Path(folder) / "model.gguf"
                write_random_model(path, shape, ftype)
                all_measured.append(_measured(name, shape.licence, ftype, path))
    all_measured.sort(key=lambda one: (not one.licence.startswith(PERMISSIVE), one.size_mb))
    if arguments.json:
        _report(all_measured).show(as_json=True)
    else:
        print(table(all_measured))
    if arguments.write:
        page = DOCS_PAGE.read_text("utf-8")
        head, _, rest = page.partition(BEGIN)
        tail = rest.partition(END)[2]
        DOCS_PAGE.write_text(f"{head}{BEGIN}\n\n{table(all_measured)}\n{END}{tail}", "utf-8")
    return 0


def write_random_model(path: Path, shape: Shape, ftype: str) -> None:
    """A GGUF file of this shape, quantized as `ftype`; its weights are the same few random ones."""
    import gguf

    from tests.tiny_model import add_numbers, vocabulary

    writer = gguf.GGUFWriter(path, shape.architecture)
    tokens, merges = vocabulary()
    tokens += [f"<unused_{i}>" for i in range(shape.n_vocab - len(tokens))]
    add_numbers(writer, shape, tokens, merges)
    writer.add_rope_dimension_count(shape.d_model // shape.n_heads)
    writer.add_layer_norm_eps(shape.norm_eps)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_eos_token_id(0)
    rng = np.random.default_rng(0)
    quantized = gguf.GGMLQuantizationType[ftype]
    tensors = _tensors(shape)
    for name, dims in tensors.items():
        kind = quantized if _is_matrix(name, dims) else gguf.GGMLQuantizationType.F32
        n_bytes = _n_bytes(dims, kind)
        writer.add_tensor_info(name, dims, np.dtype(np.float32), n_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, dims in tensors.items():
        kind = quantized if _is_matrix(name, dims) else gguf.GGMLQuantizationType.F32
        writer.write_tensor_data(_values(dims, kind, rng))
    writer.close()


def measure(path: Path) -> dict[str, float]:
    """Speed and memory of one file, in this process."""
    import psutil

    from runtime.llama import Model
    from runtime.threads import physical_cores

    model = Model.open(path, n_context_tokens=N_CONTEXT_TOKENS, n_prefill_threads=physical_cores())
    prompt = [300 + i % 100 for i in range(N_READ_TOKENS)]
    model.extend(prompt[:32])  # Maps the file, and tells the governor what a token costs.
    prefill_s, decode_s = [], []
    while len(prefill_s) < 3 and sum(prefill_s) + sum(decode_s) < LONGEST_S:
        model.rewind(0)
        started_s = time.perf_counter()
        model.extend(prompt)
        prefilled_s = time.perf_counter()
        for _ in range(N_LINE_TOKENS):
            model.step([300], n_rows=1)
        prefill_s.append(prefilled_s - started_s)
        decode_s.append(time.perf_counter() - prefilled_s)
    return {
        "n_params": model.n_params,
        "rss_mb": psutil.Process().memory_info().rss / 1e6,
        "prefill_rate": N_READ_TOKENS / statistics.median(prefill_s),
        "decode_rate": N_LINE_TOKENS / statistics.median(decode_s),
    }


def table(all_measured: list[Measured]) -> str:
    """Markdown, with the machine."""
    facts = machine()
    lines = [
        "| model | licence of its weights | file | size MB | memory MB | read tokens/s | "
        "write tokens/s | first line |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in all_measured:
        lines.append(
            f"| {one.name} ({one.n_params / 1e6:,.0f}M) | {one.licence} | {one.ftype} | "
            f"{one.size_mb:,.0f} | {one.rss_mb:,.0f} | {one.prefill_rate:,.0f} | "
            f"{one.decode_rate:,.0f} | {one.first_line_s:.2g} s |"
        )
    where = f"{facts['processor']}, {facts['cores']} cores, load {facts['load average']}"
    version = f"llama-cpp-python {facts['llama-cpp-python']}"
    return "\n".join([*lines, "", f"Measured on {where}; {version}.", ""])


def _report(all_measured: list[Measured]) -> Report:
    report = Report(title="Models by size, random weights of the true shapes")
    for one in all_measured:
        what = f"{one.name} {one.ftype}"
        report.fact(f"{what}: size", one.size_mb, "MB")
        report.fact(f"{what}: memory", one.rss_mb, "MB")
        report.fact(f"{what}: prefill", one.prefill_rate, "tokens/s")
        report.fact(f"{what}: decode", one.decode_rate, "tokens/s")
        report.fact(f"{what}: first line", one.first_line_s, "s")
    return report


def _measured(name: str, licence: str, ftype: str, path: Path) -> Measured:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(path)], capture_output=True, check=True
    )
    size_mb = path.stat().st_size / 1e6
    return Measured(
        name=name, licence=licence, ftype=ftype, size_mb=size_mb, **json.loads(done.stdout)
    )


def _tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes (rows, columns) as llama.cpp expects them of the architecture."""
    d, d_kv = shape.d_model, shape.n_kv_heads * (shape.d_model // shape.n_heads)
    is_starcoder = shape.architecture.startswith("starcoder")
    tensors: dict[str, tuple[int, ...]] = {"token_embd.weight": (shape.n_vocab, d)}

    def linear(name: str, n_out: int, n_in: int, *, has_bias: bool) -> None:
        tensors[f"{name}.weight"] = (n_out, n_in)
        if has_bias:
            tensors[f"{name}.bias"] = (n_out,)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = (d,)
        if is_starcoder:
            tensors[f"{name}.bias"] = (d,)

    if shape.architecture == "starcoder":
        tensors["position_embd.weight"] = (shape.context_tokens, d)
    norm("output_norm")
    for layer in range(shape.n_layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
        if shape.architecture == "starcoder":
            linear(f"{block}.attn_qkv", d + 2 * d_kv, d, has_bias=True)
        else:
            has_bias = shape.architecture != "llama"
            linear(f"{block}.attn_q", d, d, has_bias=has_bias)
            linear(f"{block}.attn_k", d_kv, d, has_bias=has_bias)
            linear(f"{block}.attn_v", d_kv, d, has_bias=has_bias)
        linear(f"{block}.attn_output", d, d, has_bias=is_starcoder)
        linear(f"{block}.ffn_up", shape.d_ff, d, has_bias=is_starcoder)
        linear(f"{block}.ffn_down", d, shape.d_ff, has_bias=is_starcoder)
        if not is_starcoder:
            linear(f"{block}.ffn_gate", shape.d_ff, d, has_bias=False)
    return tensors


def _is_matrix(name: str, dims: tuple[int, ...]) -> bool:
    return len(dims) == 2 and name != "position_embd.weight"


def _n_bytes(dims: tuple[int, ...], kind: "object") -> int:
    import gguf

    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(dims)) // block * block_bytes


def _values(dims: tuple[int, ...], kind: "object", rng: np.random.Generator) -> np.ndarray:
    """Small random numbers in the layout of the type: a scale of 1/1000 before each block."""
    import gguf

    if kind is gguf.GGMLQuantizationType.F32:
        return rng.normal(1.0 if len(dims) == 1 else 0.0, 0.01, dims).astype(np.float32)
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    n_blocks = int(np.prod(dims)) // block
    some = rng.integers(0, 256, (min(n_blocks, 65_521), block_bytes), np.uint8)
    some[:, :2] = np.frombuffer(np.float16(0.001).tobytes(), np.uint8)
    return np.resize(some, (n_blocks, block_bytes))


def _default_model() -> Path:
    from runtime.bundle import open_bundle

    return open_bundle(None).model_path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), help="default: all")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: temporary)")
    parser.add_argument("--write", action="store_true", help="the table into docs/models.md")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
