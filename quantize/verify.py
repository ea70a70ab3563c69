"""How far a quantized model is from its f16 original, measured side by side in one run.

Both files read the same held-out tokens, and at each position their distributions over the next
token are compared; both fill the same holes, and both are timed in turn on the same prompts. This
is the proof that travels in the bundle (`report`); nothing here converts or decides.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.gguf_reader import GGUFReader
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.llama_quantize import QuantType
from quantize.report import QuantizationReport
from quantize.texts import HeldOut
from quantize.windows import plain_windows, threads_for
from runtime.engine import Engine
from runtime.gguf_header import read_header
from runtime.sampling import SamplingConfig
from runtime.stopping import MAX_TOKENS
from train.evaluation.fim.completers import request_of
from train.evaluation.fim.scores import MEASURES, score
from train.evaluation.fim.tasks import FimTask

# Enough that the standard error of the mean KL is 1/64 of its standard deviation from token to
# token, and a matter of seconds for a model of some ten million parameters.
N_TOKENS = 4096
_ROWS_AT_ONCE = 64

_N_TIMED_PROMPTS = 7
_PROMPT_TOKENS = 256
_TIMED_DECODE_TOKENS = 32
# Of a text that ends at once there is no speed to be had.
_MIN_DECODED_TOKENS = 4

_EXACT = MEASURES.index("exact_trimmed")

OnStep = Callable[[str, int, int], None]
"""Called with (what is being measured, units done, units in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How the candidate was made, for the report; nothing of it is measured."""

    quant_type: str
    method: str | None = None
    overrides: tuple[str, ...] = ()
    calibrated_on: str | None = None


def measure(
    reference: Path,
    candidate: Path,
    *,
    made: Made,
    held_out: HeldOut,
    n_tokens: int = N_TOKENS,
    on_step: OnStep | None = None,
) -> QuantizationReport:
    """Compares `candidate` with `reference`, the f16 file of the same weights."""
    tell = on_step or (lambda *_: None)
    with ExitStack() as stack:
        before = stack.enter_context(_load(reference))
        after = stack.enter_context(_load(candidate))
        if before.info.vocab_size != after.info.vocab_size:
            raise QuantizeError(
                f"{candidate.name} has {after.info.vocab_size:,} tokens and {reference.name} "
                f"{before.info.vocab_size:,}: compare files of the same model"
            )
        windows = plain_windows(before, held_out, n_tokens=n_tokens)
        if not windows:
            raise QuantizeError(
                f"the held-out text {held_out.name} is empty: give a text file with code in it"
            )
        distance = _distance(before, after, windows, tell)
        tasks = held_out.tasks if before.info.fim is not None else ()
        exact = _exact_share((before, after), tasks, tell)
        speeds = _speeds((before, after), windows, tell)
    return QuantizationReport(
        quant_type=made.quant_type,
        method=made.method,
        overrides=made.overrides,
        calibrated_on=made.calibrated_on,
        size_bytes=candidate.stat().st_size,
        reference_size_bytes=reference.stat().st_size,
        tensor_types=tensor_types(candidate),
        held_out=held_out.name,
        n_tokens=len(distance.kl_nats),
        mean_kl_nats=float(distance.kl_nats.mean()),
        p99_kl_nats=float(np.quantile(distance.kl_nats, 0.99)),
        top1_agreement=distance.n_same_top1 / len(distance.kl_nats),
        bits_per_byte=distance.bits[1] / distance.n_bytes,
        reference_bits_per_byte=distance.bits[0] / distance.n_bytes,
        n_fim_tasks=len(tasks),
        reference_fim_exact=exact[0],
        fim_exact=exact[1],
        reference_prefill_tokens_per_s=speeds[0].prefill,
        prefill_tokens_per_s=speeds[1].prefill,
        reference_decode_tokens_per_s=speeds[0].decode,
        decode_tokens_per_s=speeds[1].decode,
    )


def tensor_types(path: Path) -> dict[str, int]:
    """Tensor type -> how many tensors of the GGUF file have it."""
    counts = Counter(
        GGMLQuantizationType(tensor.tensor_type).name for tensor in GGUFReader(path).tensors
    )
    return dict(sorted(counts.items()))


def file_type_name(path: Path) -> str:
    """The file's own word for its type, as llama.cpp calls it: ``q4_k_m``."""
    number = read_header(path).metadata.get("general.file_type")
    names = {kind.llama_ftype: kind.value for kind in QuantType}
    return names.get(number, "unknown") if isinstance(number, int) else "unknown"


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def kl_divergence(log_p: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p || q) of each row, in nats."""
    divergence: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distance:
    kl_nats: NDArray[np.float64]
    """Of each token."""
    n_same_top1: int
    bits: tuple[float, float]
    """The text's code length under the reference and under the candidate."""
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speed:
    """Tokens per second, medians; None where nothing could be timed."""

    prefill: float | None
    decode: float | None


def _distance(
    before: Engine, after: Engine, windows: Sequence[Sequence[int]], tell: OnStep
) -> _Distance:
    kl_parts: list[NDArray[np.float64]] = []
    n_same_top1, n_bytes = 0, 0
    nats = np.zeros(2)
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
            nats -= [log_p[picked].sum(), log_q[picked].sum()]
        n_bytes += len(before.detokenize(window[1:]))
        tell("comparing with f16", sum(map(len, kl_parts)), n_total)
    kl_nats = np.concatenate(kl_parts)
    if not np.isfinite(kl_nats).all():
        raise QuantizeError(
            "the quantized model computes logits that are not numbers: its weights overflow in "
            "this type, take a larger one"
        )
    bits = nats / math.log(2)
    return _Distance(
        kl_nats=kl_nats,
        n_same_top1=n_same_top1,
        bits=(float(bits[0]), float(bits[1])),
        n_bytes=n_bytes,
    )


def _exact_share(
    engines: tuple[Engine, Engine], tasks: Sequence[FimTask], tell: OnStep
) -> tuple[float, float] | tuple[None, None]:
    """Share of holes that each engine fills exactly, after the trimming that editors get."""
    if not tasks:
        return None, None
    sampling = SamplingConfig(deadline_ms=math.inf, max_tokens=max(MAX_TOKENS.values()))
    n_exact = [0.0, 0.0]
    for n_done, task in enumerate(tasks, start=1):
        request = request_of(task, order=None, with_other_files=False)
        for i, engine in enumerate(engines):
            n_exact[i] += score(task, engine.complete(request, sampling)[0].text)[_EXACT]
        tell("filling holes", n_done, len(tasks))
    return n_exact[0] / len(tasks), n_exact[1] / len(tasks)


def _speeds(
    engines: tuple[Engine, Engine], windows: Sequence[Sequence[int]], tell: OnStep
) -> tuple[_Speed, _Speed]:
    """Both engines in turn on each prompt, so that what else the machine does meets both."""
    sampling = SamplingConfig(
        deadline_ms=math.inf, max_tokens=_TIMED_DECODE_TOKENS, uses_memory=False, uses_drafts=False
    )
    prefill: tuple[list[float], list[float]] = ([], [])
    decode: tuple[list[float], list[float]] = ([], [])
    # The first prompt warms both up and is not counted.
    prompts = [window[:_PROMPT_TOKENS] for window in windows[: _N_TIMED_PROMPTS + 1]]
    for n_done, prompt in enumerate(prompts):
        for i, engine in enumerate(engines):
            timing = engine.write(prompt, sampling).timing
            if n_done == 0 and len(prompts) > 1:
                continue
            n_new = timing.n_prompt_tokens - timing.n_reused_tokens
            if timing.prefill_ms > 0:
                prefill[i].append(1e3 * n_new / timing.prefill_ms)
            if timing.n_decoded_tokens >= _MIN_DECODED_TOKENS and timing.decode_ms > 0:
                decode[i].append(1e3 * timing.n_decoded_tokens / timing.decode_ms)
        tell("timing", n_done + 1, len(prompts))
    first, second = (
        _Speed(
            prefill=statistics.median(prefill[i]) if prefill[i] else None,
            decode=statistics.median(decode[i]) if decode[i] else None,
        )
        for i in range(2)
    )
    return first, second


def _load(path: Path) -> Engine:
    return Engine.load(path, n_prefill_threads=threads_for(path))


def _row_blocks(n_rows: int) -> Iterator[slice]:
    """Few rows at a time: the float64 copies stay small even at a vocabulary of 50,000."""
    for first in range(0, n_rows, _ROWS_AT_ONCE):
        yield slice(first, first + _ROWS_AT_ONCE)
