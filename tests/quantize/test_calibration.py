"""Guards what is measured of a model's inputs: against a forward pass written out in numpy.

A failure would show as an importance matrix of the wrong tensors: files a little worse than they
need be, which nobody would notice.
"""

from pathlib import Path

import numpy as np
import pytest

from quantize import calibration
from quantize.activations import visit_inputs
from quantize.calibration import Calibration, input_widths, measure_inputs
from quantize.checkpoint import open_checkpoint
from quantize.errors import CalibrationError
from quantize.gguf_writer import FloatType, write_gguf
from quantize.texts import HeldOut
from tests.quantize import tiny_checkpoint

WINDOWS = [[0, 5, 9, 200, 31, 17], [0, 300, 301]]
TEXT = HeldOut(name="sample", text=Path(__file__).read_text(encoding="utf-8"))


def _silent(*_: object) -> None:
    pass


def test_the_first_layer_s_inputs_are_normed_embeddings(f16_file: Path) -> None:
    tensors = tiny_checkpoint.random_tensors()
    rows = tensors["model.embed_tokens.weight"][np.concatenate(WINDOWS)].astype(np.float16)
    x = rows.astype(np.float64)
    x /= np.sqrt((x**2).mean(axis=1, keepdims=True) + tiny_checkpoint.NORM_EPS)
    x *= tensors["model.layers.0.input_layernorm.weight"]
    moments = measure_inputs(f16_file, WINDOWS, products_of=["blk.0.attn_q.weight"])
    np.testing.assert_allclose(
        moments.products["blk.0.attn_q.weight"], x.T @ x / len(x), rtol=2e-3, atol=2e-4
    )
    for name in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(
            moments.squares[f"blk.0.{name}.weight"], (x**2).mean(axis=0), rtol=2e-3, atol=1e-4
        )


def test_every_matrix_has_an_importance_and_inputs_are_shared(
    f16_file: Path, checkpoint_folder: Path
) -> None:
    """token_embd among them: it is the output matrix too."""
    moments = measure_inputs(f16_file, WINDOWS)
    tensors = open_checkpoint(checkpoint_folder).tensors
    assert moments.squares.keys() == {t.gguf for t in tensors if len(t.shape) > 1}
    assert moments.products == {}
    widths = input_widths(f16_file, WINDOWS[0])
    assert widths["blk.1.ffn_down.weight"] == tiny_checkpoint.D_FF
    assert widths["token_embd.weight"] == tiny_checkpoint.D_MODEL
    assert "blk.0.attn_k.weight" not in widths and "blk.0.attn_q.weight" in widths


def test_products_in_groups_are_the_same(f16_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose sums do not fit into memory at once is read several times."""
    monkeypatch.setattr(calibration, "N_TOKENS", 1100)

    def products(n_bytes: int) -> list[dict[str, np.ndarray]]:
        monkeypatch.setattr(calibration, "_MAX_PRODUCTS_BYTES", n_bytes)
        known = Calibration(f16_file, TEXT, wants_products=True, on_progress=_silent)
        return [dict(group) for group in known.products()]

    (together,) = products(10**9)
    apart = products(4 * tiny_checkpoint.D_FF**2)
    assert len(apart) > 2
    merged = {name: values for group in apart for name, values in group.items()}
    assert merged.keys() == together.keys()
    for name, values in merged.items():
        np.testing.assert_array_equal(values, together[name])


def test_too_little_text_is_said(f16_file: Path) -> None:
    short = HeldOut(name="short.py", text="x = 1\n")
    known = Calibration(f16_file, short, wants_products=False, on_progress=_silent)
    with pytest.raises(CalibrationError, match=r"short\.py has \d+ tokens where at least 1,024"):
        _ = known.importance


def test_weights_that_overflow_are_named(tmp_path: Path) -> None:
    """Every weight is finite, and what they compute is not."""
    tensors = tiny_checkpoint.random_tensors()
    tensors["model.layers.0.mlp.up_proj.weight"] *= 3e4
    tensors["model.layers.0.mlp.gate_proj.weight"] *= 3e4
    tensors["model.layers.0.mlp.down_proj.weight"][:] = 6e4
    tensors["model.layers.0.post_attention_layernorm.weight"][:] = 1e30
    tiny_checkpoint.write(tmp_path / "c")
    tiny_checkpoint.write_safetensors(tmp_path / "c" / "model.safetensors", tensors)
    model = tmp_path / "m.gguf"
    write_gguf(open_checkpoint(tmp_path / "c"), model, float_type=FloatType.F16)
    with pytest.raises(
        CalibrationError, match=r"inputs of blk\.\d\.\w+\.weight are not all finite"
    ):
        measure_inputs(model, WINDOWS)


def test_an_error_in_the_callback_comes_out(f16_file: Path) -> None:
    """An exception cannot pass through llama.cpp, and must not be lost in it."""

    def interrupt(_name: str, _rows: np.ndarray) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        visit_inputs(f16_file, WINDOWS, interrupt)


def test_llama_cpp_prints_nothing(f16_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    measure_inputs(f16_file, WINDOWS[:1])
    assert capfd.readouterr() == ("", "")
