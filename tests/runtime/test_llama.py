"""Guards the border to llama.cpp: ids from metadata or spelling, silence, aborts, and no crash."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from runtime import llama
from runtime.bundle import open_bundle
from runtime.engine import Engine, FimRequest, SamplingConfig, StopReason
from runtime.errors import BundleError, ContextOverflowError
from runtime.fim import SPECIAL_TOKENS, own_tokens
from runtime.gguf_header import read_header
from runtime.llama import Model
from tests import tiny_model


def opened(path: Path) -> Model:
    return Model.open(path, n_context_tokens=512, n_prefill_threads=1)


def rewritten(source: Path, target: Path, rename: Callable[[str], str], *, keep_fim: bool) -> None:
    """The tiny model with other spellings of its special tokens, and without the FIM keys."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "qwen3")
    for key, field in reader.fields.items():
        is_fim = key.startswith("tokenizer.ggml.fim_")
        if key.startswith("GGUF.") or key == "general.architecture" or is_fim and not keep_fim:
            continue
        value = field.contents()
        if key == "tokenizer.ggml.tokens":
            value = [rename(text) if i < 20 else text for i, text in enumerate(value)]
        kind = field.types[0]
        sub_type = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, kind, sub_type=sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.asarray(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_fim_ids_from_metadata(tiny_gguf: Path) -> None:
    model = opened(tiny_gguf)
    assert model.vocabulary.fim == own_tokens()
    model.close()


@pytest.mark.parametrize(
    "spellings",
    [
        ("<fim_prefix>", "<fim_middle>", "<fim_suffix>"),
        ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
        ("<fim-prefix>", "<fim-middle>", "<fim-suffix>"),
        ("▁<PRE>", "▁<MID>", "▁<SUF>"),
        ("<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>"),
    ],
    ids=["starcoder", "qwen", "santacoder", "codellama", "deepseek"],
)
def test_fim_ids_from_spelling(
    tiny_gguf: Path, tmp_path: Path, spellings: tuple[str, str, str]
) -> None:
    path = tmp_path / "model.gguf"
    new = dict(zip(("<fim_prefix>", "<fim_middle>", "<fim_suffix>"), spellings, strict=True))
    rewritten(tiny_gguf, path, lambda text: new.get(text, text), keep_fim=False)
    model = opened(path)
    fim, own = model.vocabulary.fim, own_tokens()
    assert fim is not None
    assert (fim.prefix_id, fim.middle_id, fim.suffix_id, fim.end_of_text_id) == (
        own.prefix_id,
        own.middle_id,
        own.suffix_id,
        own.end_of_text_id,
    )
    assert fim.file_sep_id == own.file_sep_id  # llama.cpp itself misses StarCoder2's spelling
    for token_id in (fim.prefix_id, fim.middle_id, fim.suffix_id, fim.end_of_text_id):
        assert model.vocabulary.is_special[token_id]
    model.close()


def test_a_model_that_cannot_fill_in_continues_what_stands_before_the_cursor(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    rewritten(tiny_gguf, path, lambda text: text.replace("fim", "other"), keep_fim=False)
    with Engine.load(path, n_prefill_threads=1) as engine:
        assert engine.info.fim is None
        for prefix in ("x = ", "x", "", "def f(a, b):\n    retu"):
            request = FimRequest(prefix=prefix, suffix="\n    secret = 1\n", path="a.py")
            done = engine.complete(request, SamplingConfig(max_tokens=4))
            assert done[0].token_ids or done[0].stop_reason is StopReason.END_OF_TEXT
            shown = engine.prompt_text(request)
            assert "secret" not in shown and prefix.startswith(shown.lstrip("\n"))


def test_pieces(tiny_gguf: Path) -> None:
    model = opened(tiny_gguf)
    vocabulary = model.vocabulary
    n_special = len(SPECIAL_TOKENS)
    assert vocabulary.pieces[:n_special] == tuple(text.encode() for text in SPECIAL_TOKENS)
    assert vocabulary.pieces[n_special : n_special + 256] == tuple(bytes([b]) for b in range(256))
    assert vocabulary.is_special[:n_special].all()
    assert not vocabulary.is_special[n_special:].any()
    assert vocabulary.is_end[0]
    model.close()


def test_cache_operations(tiny_gguf: Path) -> None:
    model = opened(tiny_gguf)
    ids = model.vocabulary.tokenize(Path(__file__).read_text())[:400]
    assert model.n_cached_tokens == 0
    assert model.extend(ids)
    assert model.n_cached_tokens == 400
    whole = model.logits_V.copy()
    model.rewind(150)
    assert model.n_cached_tokens == 150
    assert model.extend(ids[150:])
    assert np.abs(model.logits_V - whole).max() < 1e-3
    model.rewind(399)
    assert model.extend(ids[399:])
    assert np.abs(model.logits_V - whole).max() < 1e-3
    with pytest.raises(ContextOverflowError, match="larger context"):
        model.extend(ids[:113])
    assert model.n_cached_tokens == 400
    assert model.extend(ids[:112])
    with pytest.raises(ContextOverflowError, match="larger context"):
        model.step(ids[:1], n_rows=1)
    model.close()


@pytest.mark.parametrize("has_bf16", [False, True])
def test_the_cache_holds_what_the_processor_multiplies_fastest(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    """The wrong type costs a tenth of a long prompt's time, or makes an exact model inexact; and
    in long steps or short ones, the same prompt must lead to the same suggestion."""
    monkeypatch.setattr(llama, "_multiplies_bf16", lambda: has_bf16)
    bf16, f16 = gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.F16
    default = open_bundle(None).model_path
    for path, expected in ((default, bf16 if has_bf16 else f16), (tiny_gguf, f16)):
        model = opened(path)
        ids = model.vocabulary.tokenize(Path(__file__).read_text())[:200]
        rows = []
        for n_step in (len(ids), 50, 8):
            model.rewind(0)
            for start in range(0, len(ids), n_step):
                assert model.extend(ids[start : start + n_step])
            rows.append(model.logits_V.copy())
        assert np.ptp(rows, axis=0).max() < 1e-3
        # llama.cpp's `state_write`: 16 bytes, 12 of each token, 8 more, then the type of K.
        at = 16 + 12 * len(ids) + 8
        assert model.save()[at : at + 4].view(np.int32)[0] == expected
        model.close()


def test_logits_are_a_view(tiny_gguf: Path) -> None:
    model = opened(tiny_gguf)
    model.extend([300])
    view = model.logits_V
    before = view.copy()
    model.extend([301])
    assert not np.array_equal(view, before)
    assert np.shares_memory(view, model.logits_V)
    model.close()


@pytest.mark.parametrize(
    ("n_past", "n_new", "ends"),
    [(0, 500, [256, 500]), (11, 480, [256, 491]), (250, 200, [450]), (11, 100, [111])],
)
def test_a_long_prompt_is_read_in_steps_that_end_with_a_block_of_cells(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, n_past: int, n_new: int, ends: list[int]
) -> None:
    """Otherwise each step attends over one block too many: after a jump of the cursor the first
    suggestion takes a quarter longer."""
    model = opened(tiny_gguf)
    assert model.extend(range(300, 300 + n_past)) if n_past else True
    seen: list[int] = []
    decode = model._decode
    monkeypatch.setattr(
        model, "_decode", lambda: decode() and not seen.append(model.n_cached_tokens)
    )
    assert model.extend([300 + i % 100 for i in range(n_new)])
    assert seen == ends
    model.close()


def test_abort_flag(tiny_gguf: Path) -> None:
    model = opened(tiny_gguf)
    ids = list(range(100, 400))
    model.abort_flag[0] = 1
    assert not model.extend(ids)
    assert model.n_cached_tokens == 0
    model.abort_flag[0] = 0
    assert model.extend(ids)
    model.close()


def test_a_step_that_was_stopped_is_no_measure_of_the_machine(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every whole step after a cancel would look slow, and prefill stay on one core."""
    model = opened(tiny_gguf)
    assert model.extend([300, 301])
    reported: list[float] = []
    monkeypatch.setattr(model._governor, "report_decode", lambda ms, _now_s: reported.append(ms))
    model.abort_flag[0] = 1
    assert model.step([302], n_rows=1) is None
    assert not reported
    model.abort_flag[0] = 0
    assert model.step([302], n_rows=1) is not None
    assert len(reported) == 1
    model.close()


def test_a_checked_file_that_llama_cpp_refuses(tiny_gguf: Path, tmp_path: Path) -> None:
    """Sound GGUF, but a tensor has another name."""
    data = tiny_gguf.read_bytes()
    path = tmp_path / "model.gguf"
    path.write_bytes(data.replace(b"output_norm.weight", b"output_norm.height"))
    assert read_header(path).n_tensors > 0
    with pytest.raises(BundleError, match="llama.cpp cannot load"):
        opened(path)


def test_nothing_is_printed_and_no_torch_is_loaded(tiny_gguf: Path) -> None:
    """A language server's stdout is its protocol; and torch would cost a second and 300 MB."""
    code = (
        "import sys, math\n"
        "from pathlib import Path\n"
        "from runtime.engine import Engine, FimRequest, SamplingConfig, StopReason\n"
        f"engine = Engine.load(Path({str(tiny_gguf)!r}), n_prefill_threads=1)\n"
        "request = FimRequest(prefix='x = ', suffix='', path='a.py')\n"
        "engine.complete(request, SamplingConfig(deadline_ms=math.inf))\n"
        "engine.close()\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'gguf'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_other_shapes_load(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    tiny_model.write(path, seed=7)
    model = opened(path)
    assert model.n_params == tiny_model.write(path, seed=8).n_params
    model.close()
