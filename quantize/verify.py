"""How far a quantized model is from its f16 original, measured side by side in one run.

Both files read the same held-out tokens, and at each position their distributions over the next
token are compared. This is the proof that travels in the bundle as ``quantization.json``; nothing
here converts or decides.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.gguf_reader import GGUFReader
from numpy.typing import NDArray

import quantize
import runtime
from quantize.checkpoint import HELD_OUT_FILE
from quantize.errors import QuantizeError
from quantize.llama_quantize import QuantType
from runtime.engine import Engine
from runtime.source_text import decode_source

QUANTIZATION_FILE = "quantization.json"
REPORT_FORMAT_VERSION = 1

# Enough that the standard error of the mean KL is 1/64 of its standard deviation from token to
# token, and a matter of seconds for a model of some ten million parameters.
N_TOKENS = 4096
_WINDOW_TOKENS = 512
# More characters than any of our tokenizers needs for one token on average.
_MAX_CHARS_PER_TOKEN = 8
_ROWS_AT_ONCE = 64

# Files below this size are read with one thread: llama.cpp's threads wait for each other in a spin
# at every operation, so that beside other work on the same cores a 12M model took 70 s with two
# threads and about 10 s with one (6 s on quiet cores). Larger operations amortise the waiting.
_ONE_THREAD_BELOW_BYTES = 256_000_000

OnTokens = Callable[[int, int], None]
"""Called with (tokens compared, tokens in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Text that the comparison reads, and what to call it in the report."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What quantizing cost. KL is of the quantized model from the f16 one, per token."""

    quant_type: str
    size_bytes: int
    reference_size_bytes: int
    """Size of the f16 file."""
    tensor_types: dict[str, int]
    """How many tensors of each type the file really holds."""
    held_out: str
    n_tokens: int
    mean_kl_nats: float
    p99_kl_nats: float
    top1_agreement: float
    """Share of positions where both models put the same token first."""
    bits_per_byte: float
    reference_bits_per_byte: float
    format_version: int = REPORT_FORMAT_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def measure(
    reference: Path,
    candidate: Path,
    *,
    quant_type: QuantType,
    held_out: HeldOut,
    on_tokens: OnTokens | None = None,
) -> QuantizationReport:
    """Compares `candidate` with `reference`, the f16 file of the same weights."""
    kl_parts: list[NDArray[np.float64]] = []
    n_same_top1 = 0
    n_bytes = 0
    nats = {"candidate": 0.0, "reference": 0.0}
    with _load(reference) as before, _load(candidate) as after:
        windows = _windows(before, held_out)
        n_total = sum(len(window) - 1 for window in windows)
        for window in windows:
            next_ids = np.asarray(window[1:])
            before_logits, after_logits = before.logits(window)[:-1], after.logits(window)[:-1]
            for rows in _row_blocks(len(next_ids)):
                log_p = log_softmax(before_logits[rows])
                log_q = log_softmax(after_logits[rows])
                kl_parts.append(kl_divergence(log_p, log_q))
                n_same_top1 += int(np.sum(log_p.argmax(axis=1) == log_q.argmax(axis=1)))
                picked = (np.arange(len(log_p)), next_ids[rows])
                nats["reference"] -= float(log_p[picked].sum())
                nats["candidate"] -= float(log_q[picked].sum())
            n_bytes += len(before.detokenize(window[1:]))
            if on_tokens is not None:
                on_tokens(sum(map(len, kl_parts)), n_total)
    kl = np.concatenate(kl_parts)
    return QuantizationReport(
        quant_type=quant_type.value,
        size_bytes=candidate.stat().st_size,
        reference_size_bytes=reference.stat().st_size,
        tensor_types=tensor_types(candidate),
        held_out=held_out.name,
        n_tokens=len(kl),
        mean_kl_nats=float(kl.mean()),
        p99_kl_nats=float(np.quantile(kl, 0.99)),
        top1_agreement=n_same_top1 / len(kl),
        bits_per_byte=nats["candidate"] / np.log(2) / n_bytes,
        reference_bits_per_byte=nats["reference"] / np.log(2) / n_bytes,
    )


def read_held_out(path: Path | None, *, checkpoint: Path) -> HeldOut:
    """The text in `path`, else the one that training left, else Starling's own Python files."""
    beside_weights = checkpoint / HELD_OUT_FILE
    if path is None and beside_weights.is_file():
        path = beside_weights
    if path is not None:
        try:
            return HeldOut(name=path.name, text=decode_source(path.read_bytes()))
        except (OSError, UnicodeDecodeError) as error:
            raise QuantizeError(
                f"the held-out text {path} cannot be read ({error}): give a UTF-8 text file"
            ) from error
    files = [
        file
        for package in (runtime, quantize)
        for folder in package.__path__
        for file in sorted(Path(folder).glob("*.py"))
    ]
    return HeldOut(
        name="Starling's own sources",
        text="".join(decode_source(file.read_bytes()) for file in files),
    )


def tensor_types(path: Path) -> dict[str, int]:
    """Tensor type -> how many tensors of the GGUF file have it."""
    counts = Counter(
        GGMLQuantizationType(tensor.tensor_type).name for tensor in GGUFReader(path).tensors
    )
    return dict(sorted(counts.items()))


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def kl_divergence(log_p: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p || q) of each row, in nats."""
    divergence: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return divergence


def _load(path: Path) -> Engine:
    small = path.stat().st_size < _ONE_THREAD_BELOW_BYTES
    return Engine.load(path, n_prefill_threads=1 if small else None)


def _windows(engine: Engine, held_out: HeldOut) -> list[list[int]]:
    """At most `N_TOKENS` in windows that fit the context, each begun as a new document is.

    A text that is long enough is read at evenly spaced places, so that each of its files counts.
    """
    text = held_out.text
    start = [] if engine.info.fim is None else [engine.info.fim.end_of_text_id]
    n_new = min(_WINDOW_TOKENS, engine.info.context_tokens) - len(start)
    n_windows = -(-N_TOKENS // n_new)
    n_chars = n_new * _MAX_CHARS_PER_TOKEN
    if len(text) > n_windows * n_chars:
        step = (len(text) - n_chars) // (n_windows - 1)
        parts = [
            engine.tokenize(text[first : first + n_chars])[:n_new]
            for first in range(0, n_windows * step, step)
        ]
        ids = [token_id for part in parts for token_id in part][:N_TOKENS]
    else:
        ids = engine.tokenize(text)[:N_TOKENS]
    if not ids:
        raise QuantizeError(
            f"the held-out text {held_out.name} is empty: give a text file with some code in it"
        )
    windows = [[*start, *ids[first : first + n_new]] for first in range(0, len(ids), n_new)]
    return [window for window in windows if len(window) > 1]


def _row_blocks(n_rows: int) -> Iterator[slice]:
    """Few rows at a time: the float64 copies stay small even at a vocabulary of 50,000."""
    for first in range(0, n_rows, _ROWS_AT_ONCE):
        yield slice(first, first + _ROWS_AT_ONCE)
