"""Guards against models and machines that are not as they should be: one clear sentence, no crash.

If it breaks, a damaged download takes the server down with every file that the user opens, or shows
junk as if somebody had meant it.
"""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from runtime.engine import Engine, FimRequest, Mode, SamplingConfig, StopReason
from runtime.errors import BundleError, ContextOverflowError, DecodeError
from tests import tiny_model
from tests.runtime.answers import PATIENT, request_at

REQUEST = FimRequest(prefix="def f(x):\n    return x", suffix="\n", path="a.py")


def written(path: Path, change: Callable[[dict[str, np.ndarray], list[str]], None]) -> Path:
    """The tiny model with other weights."""
    spec = tiny_model.write(path)
    tokens, merges = tiny_model.vocabulary()
    tensors = tiny_model._tensors(tokens, np.random.default_rng(1))
    change(tensors, tokens)
    tiny_model.write_gguf(path, spec, tokens, merges, tensors)
    return path


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_one_clear_error(tmp_path: Path, value: float) -> None:
    def damage(tensors: dict[str, np.ndarray], tokens: list[str]) -> None:
        tensors["output_norm.weight"][:] = value

    with Engine.load(written(tmp_path / "model.gguf", damage), n_prefill_threads=1) as engine:
        for n in (1, 3):
            for sampling in (PATIENT, SamplingConfig(temperature=1.0, deadline_ms=math.inf)):
                for _ in range(2):
                    with pytest.raises(DecodeError, match="not numbers: .*download it again"):
                        engine.complete(REQUEST, sampling, n=n)
        assert engine._cache.ids_N.size == engine._model.n_cached_tokens


def test_one_logit_that_is_no_number_is_seen_wherever_it_is(tmp_path: Path) -> None:
    """In a draft's rows too, and where the others would have won."""

    def damage(tensors: dict[str, np.ndarray], tokens: list[str]) -> None:
        tensors["output.weight"][-1] = math.nan

    with Engine.load(written(tmp_path / "model.gguf", damage), n_prefill_threads=1) as engine:
        for prefix in ("x", "ab = ab\n" * 20):
            with pytest.raises(DecodeError, match="not numbers"):
                engine.complete(FimRequest(prefix=prefix + "\n", suffix="", path="a.py"), PATIENT)


def test_gaps_in_the_vocabulary_are_no_text(tmp_path: Path) -> None:
    """Real models are padded to a round number, and may pick what was never trained."""
    path = tmp_path / "model.gguf"
    gaps = range(400, 440)

    def prefer_gaps(tensors: dict[str, np.ndarray], tokens: list[str]) -> None:
        tensors["output.weight"][:] = 0.0
        tensors["token_embd.weight"][:, 0] = 50.0
        tensors["output.weight"][gaps[0], 0] = 9.0

    written(path, prefer_gaps)
    reader = gguf.GGUFReader(path)
    types = reader.fields["tokenizer.ggml.token_type"]
    kinds = np.array(types.contents())
    kinds[list(gaps)] = gguf.TokenType.UNUSED
    data = bytearray(path.read_bytes())
    start = types.parts[types.data[0]].ctypes.data - reader.data.ctypes.data
    data[start : start + 4 * kinds.size] = kinds.astype("<i4").tobytes()
    path.write_bytes(data)
    with Engine.load(path, n_prefill_threads=1) as engine:
        assert engine.is_special[list(gaps)].all()
        for mode in (Mode.LINE, Mode.BLOCK):
            request = FimRequest(prefix="x = 1\n", suffix="", path="a.py", mode=mode)
            done = engine.complete(request, PATIENT)[0]
            assert (done.text, done.stop_reason) == ("", StopReason.END_OF_TEXT)


def test_more_tokens_than_the_context_holds(engine: Engine) -> None:
    """A request is cut to fit; tokens given as such are refused, and harm nothing."""
    before = engine.complete(request_at(900), PATIENT)[0]
    ids = [100] * (engine.info.context_tokens + 1)
    with pytest.raises(ContextOverflowError, match="send less text"):
        engine.write(ids, PATIENT)
    full = engine.write(ids[1:], PATIENT)
    assert full.stop_reason in (StopReason.CONTEXT_FULL, StopReason.END_OF_TEXT)
    assert engine.complete(request_at(900), PATIENT)[0].token_ids == before.token_ids


@pytest.mark.parametrize(
    "key", ["qwen3.embedding_length", "qwen3.block_count", "qwen3.feed_forward_length"]
)
@pytest.mark.parametrize("value", [0, 1, 4096, 2**31 - 1])
def test_sizes_that_the_weights_do_not_have(
    tiny_gguf: Path, tmp_path: Path, key: str, value: int
) -> None:
    """The header is sound, but it speaks of another model."""
    path = tmp_path / "model.gguf"
    reader = gguf.GGUFReader(tiny_gguf)
    field = reader.fields[key]
    start = field.parts[-1].ctypes.data - reader.data.ctypes.data
    data = bytearray(tiny_gguf.read_bytes())
    data[start : start + 4] = int(value).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(BundleError):
        Engine.load(path, n_prefill_threads=1)


def test_a_file_that_is_shorter_than_its_header_says(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    whole = tiny_gguf.read_bytes()
    for n_bytes in (len(whole) - 1, len(whole) - 4096, len(whole) // 2, 5000, 40, 4, 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(BundleError):
            Engine.load(path, n_prefill_threads=1)


def test_a_model_that_is_deleted_serves_on_and_is_missed_at_the_next_load(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    with Engine.load(path, n_prefill_threads=1) as engine:
        first = engine.complete(request_at(900), PATIENT)[0]
        path.unlink()
        engine.logits([1])
        assert engine.complete(request_at(900), PATIENT)[0].token_ids == first.token_ids
    with pytest.raises(BundleError, match="there is no model file"):
        Engine.load(path)


def test_nothing_is_written_to_a_disk_that_is_full(tiny_gguf: Path) -> None:
    """What is remembered of eight documents stays in memory: no file may grow in this process."""
    code = (
        "import math, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from runtime.engine import Engine, FimRequest, SamplingConfig\n"
        f"engine = Engine.load(Path({str(tiny_gguf)!r}), n_prefill_threads=1)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "patient = SamplingConfig(deadline_ms=math.inf, max_tokens=4)\n"
        "for name in [*range(8)] * 2:\n"
        "    text = f'# {name}\\nx = 1\\n' * 60\n"
        "    request = FimRequest(prefix=text, suffix='', path=f'{name}.py')\n"
        "    timing = engine.complete(request, patient)[0].timing\n"
        "assert timing.n_prompt_tokens - timing.n_reused_tokens < 3, timing\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
