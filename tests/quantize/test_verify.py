"""Guards the proof of quality: right formulas, right order of types, nothing for identical files.

A failure would show as a good number on a bad model.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from quantize.checkpoint import open_checkpoint
from quantize.errors import QuantizeError
from quantize.gguf_writer import FloatType, write_gguf
from quantize.llama_quantize import QuantType, quantize_file
from quantize.texts import HeldOut
from quantize.verify import (
    N_TOKENS,
    Made,
    file_type_name,
    kl_divergence,
    log_softmax,
    measure,
)
from quantize.windows import plain_windows
from runtime import trim
from runtime.bundle import default_bundle_directory
from runtime.engine import Engine, FimRequest
from runtime.sampling import SamplingConfig
from tests.quantize import tiny_checkpoint
from train.evaluation.fim.tasks import FimTask, Kind

F16 = Made(quant_type="f16")
TEXT = HeldOut(name="sample", text=Path(__file__).read_text(encoding="utf-8")[:1500])


@pytest.mark.parametrize("n_vocab", [1, 2, 33, 1000])
def test_kl_against_the_formula_spelled_out(n_vocab: int) -> None:
    rng = np.random.default_rng(n_vocab)
    a, b = (rng.normal(0, 5, (4, n_vocab)).astype(np.float32) for _ in range(2))
    ours = kl_divergence(log_softmax(a), log_softmax(b))
    for row in range(4):
        p = [math.exp(x) for x in a[row].tolist()]
        q = [math.exp(x) for x in b[row].tolist()]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        slow = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        assert ours[row] == pytest.approx(slow, rel=1e-9, abs=1e-12)


def test_log_softmax_survives_large_logits() -> None:
    row = np.array([[1e30, 0.0, -1e30]], dtype=np.float32)
    np.testing.assert_array_equal(np.exp(log_softmax(row)), [[1, 0, 0]])


def test_a_file_is_no_distance_from_itself(f16_file: Path) -> None:
    report = measure(f16_file, f16_file, made=F16, held_out=TEXT)
    assert report.mean_kl_nats == report.p99_kl_nats == 0
    assert report.top1_agreement == 1
    assert report.bits_per_byte == report.reference_bits_per_byte > 0
    assert report.size_bytes == report.reference_size_bytes == f16_file.stat().st_size


def test_fewer_bits_are_further_away(f16_file: Path, tmp_path: Path) -> None:
    reports = []
    for quant_type in (QuantType.Q8_0, QuantType.Q5_K_M, QuantType.Q4_0):
        quantize_file(f16_file, tmp_path / quant_type, quant_type)
        reports.append(
            measure(
                f16_file, tmp_path / quant_type, made=Made(quant_type=quant_type), held_out=TEXT
            )
        )
    assert 0 < reports[0].mean_kl_nats < reports[1].mean_kl_nats < reports[2].mean_kl_nats
    assert 1 > reports[0].top1_agreement >= reports[2].top1_agreement
    assert reports[0].p99_kl_nats > reports[0].mean_kl_nats
    assert json.loads(reports[0].to_json())["quant_type"] == "q8_0"


def test_other_weights_are_far_away(f16_file: Path, tmp_path: Path) -> None:
    tiny_checkpoint.write(tmp_path / "other", seed=1)
    write_gguf(open_checkpoint(tmp_path / "other"), tmp_path / "o.gguf", float_type=FloatType.F16)
    report = measure(f16_file, tmp_path / "o.gguf", made=F16, held_out=TEXT)
    assert report.mean_kl_nats > 0.3
    assert report.top1_agreement < 0.5


def test_every_token_is_compared_once_and_bytes_are_counted(f16_file: Path) -> None:
    """Bits per byte from the logits of one long window, beside those of `measure`."""
    text = TEXT.text[:300]
    seen: list[tuple[str, int, int]] = []
    report = measure(
        f16_file,
        f16_file,
        made=F16,
        held_out=HeldOut(name="short", text=text),
        on_step=lambda step, done, total: seen.append((step, done, total)),
    )
    with Engine.load(f16_file) as engine:
        ids = engine.tokenize(text)
        assert len(ids) < engine.info.context_tokens
        log_p = log_softmax(engine.logits([0, *ids]))
    bits = -sum(log_p[i, token_id] for i, token_id in enumerate(ids)) / math.log(2)
    assert report.n_tokens == len(ids)
    assert seen[0] == ("comparing with f16", len(ids), len(ids))
    assert seen[-1][0] == "timing"
    assert report.bits_per_byte == pytest.approx(bits / len(text.encode()), rel=1e-6)


def test_long_text_is_cut_into_windows_that_fit(f16_file: Path) -> None:
    report = measure(
        f16_file,
        f16_file,
        made=F16,
        held_out=HeldOut(name="digits", text="1" * 700),  # one token each; the context is 256
    )
    assert report.n_tokens == 700


def test_a_long_text_is_read_from_end_to_end(f16_file: Path) -> None:
    """4,096 digits, of which the second half of the text has its share."""
    with Engine.load(f16_file) as engine:
        windows = plain_windows(
            engine, HeldOut(name="long", text="1" * 100_000 + "2" * 100_000), n_tokens=N_TOKENS
        )
        one, two = engine.tokenize("1") + engine.tokenize("2")
    ids = [token_id for window in windows for token_id in window[1:]]
    assert len(ids) == N_TOKENS
    assert all(len(window) <= tiny_checkpoint.CONTEXT_TOKENS for window in windows)
    assert 0.4 * N_TOKENS < ids.count(two) < 0.6 * N_TOKENS
    assert ids.count(one) + ids.count(two) == N_TOKENS
    assert ids[-1] == two


def test_holes_are_filled_by_both(f16_file: Path, tmp_path: Path) -> None:
    """The tiny random model fills none; a hole where it happens to be right is made for it."""
    lines = [line for line in TEXT.text.splitlines() if len(line) > 20]
    with Engine.load(f16_file) as engine:
        shown = (_shown(engine, FimRequest(prefix=x[:10], suffix="\n", path="f.py")) for x in lines)
        request, said = next((request, text) for request, text in shown if text.strip())
    tasks = [
        FimTask(kind=Kind.REST_OF_LINE, origin="", path="f.py", prefix=request.prefix,
                middle=middle, suffix=request.suffix)
        for middle in (said, "something else altogether")
    ]  # fmt: skip
    held_out = HeldOut(name="sample", text=TEXT.text, tasks=tuple(tasks))
    tiny_checkpoint.write(tmp_path / "other", seed=1)
    write_gguf(open_checkpoint(tmp_path / "other"), tmp_path / "o.gguf", float_type=FloatType.F16)
    report = measure(f16_file, tmp_path / "o.gguf", made=F16, held_out=held_out)
    assert (report.n_fim_tasks, report.reference_fim_exact, report.fim_exact) == (2, 0.5, 0.0)


def _shown(engine: Engine, request: FimRequest) -> tuple[FimRequest, str]:
    """What an editor would show of the answer, in its first line."""
    text = engine.complete(request, SamplingConfig(deadline_ms=math.inf))[0].text
    fitted = trim.fit(text.split("\n")[0], request.prefix, request.suffix, path=request.path)
    return request, fitted.text.split("\n")[0] if fitted and not fitted.n_replaced_chars else ""


def test_speed_is_measured_of_both() -> None:
    """Of the default model: a random one may end its text before anything can be timed."""
    model = default_bundle_directory() / "model.gguf"
    report = measure(model, model, made=F16, held_out=TEXT, n_tokens=600)
    for speed, reference in (
        (report.prefill_tokens_per_s, report.reference_prefill_tokens_per_s),
        (report.decode_tokens_per_s, report.reference_decode_tokens_per_s),
    ):
        assert speed is not None and reference is not None
        assert 5 < speed < 1e6 and 0.02 < speed / reference < 50  # one file, on a busy machine


def test_models_that_do_not_belong_together(f16_file: Path) -> None:
    other = default_bundle_directory() / "model.gguf"
    with pytest.raises(QuantizeError, match="compare files of the same model"):
        measure(f16_file, other, made=F16, held_out=TEXT)


def test_the_file_names_its_type(f16_file: Path, tmp_path: Path) -> None:
    assert file_type_name(f16_file) == "f16"
    quantize_file(f16_file, tmp_path / "m", QuantType.Q4_K_S)
    assert file_type_name(tmp_path / "m") == "q4_k_s"


def test_empty_text_is_refused(f16_file: Path) -> None:
    with pytest.raises(QuantizeError, match="is empty"):
        measure(f16_file, f16_file, made=F16, held_out=HeldOut(name="e", text=""))
