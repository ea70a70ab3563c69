"""Guards the call into llama.cpp's quantizer: each type, its silence, and its errors as ours.

A failure would show as a file of another type than asked for, or as llama.cpp's log on the screen.
"""

import ctypes
import re
from pathlib import Path

import llama_cpp
import pytest
from gguf.gguf_reader import GGUFReader

from quantize.calibration import measure_inputs
from quantize.errors import ConversionError, TypeChoiceError
from quantize.llama_quantize import Override, QuantType, fallback_note, quantize_file
from quantize.verify import tensor_types

# llama.cpp picks Q8_0 for tied embeddings under q6_k, Q6_K under the smaller ones, and its fallback
# types for attn_output, whose rows are 128 long here.
EXPECTED_TYPES = {
    QuantType.F32: {"F32"},
    QuantType.F16: {"F16", "F32"},
    QuantType.BF16: {"BF16", "F32"},
    QuantType.Q8_0: {"Q8_0", "F32"},
    QuantType.Q6_K: {"Q6_K", "Q8_0", "F32"},
    QuantType.Q5_K_M: {"Q5_K", "Q6_K", "Q5_1", "F32"},
    QuantType.Q5_K_S: {"Q5_K", "Q6_K", "Q5_1", "F32"},
    QuantType.Q5_1: {"Q5_1", "Q6_K", "F32"},
    QuantType.Q5_0: {"Q5_0", "Q6_K", "F32"},
    QuantType.Q4_K_M: {"Q4_K", "Q6_K", "Q5_0", "F32"},
    QuantType.Q4_K_S: {"Q4_K", "Q5_K", "Q6_K", "Q5_0", "F32"},
    QuantType.Q4_1: {"Q4_1", "Q6_K", "F32"},
    QuantType.Q4_0: {"Q4_0", "Q6_K", "F32"},
    QuantType.IQ4_NL: {"IQ4_NL", "Q6_K", "F32"},
    QuantType.IQ4_XS: {"IQ4_XS", "Q6_K", "IQ4_NL", "F32"},
    QuantType.Q3_K_M: {"Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q5_0", "F32"},
}


@pytest.mark.parametrize("quant_type", list(QuantType))
def test_each_type(f16_file: Path, tmp_path: Path, quant_type: QuantType) -> None:
    target = tmp_path / "model.gguf"
    quantize_file(f16_file, target, quant_type)
    assert tensor_types(target).keys() == EXPECTED_TYPES[quant_type]
    before, after = GGUFReader(f16_file), GGUFReader(target)
    assert after.fields["general.file_type"].contents() == quant_type.llama_ftype
    for key, field in before.fields.items():
        if key.startswith(("starling.", "tokenizer.", "qwen3.")):
            assert after.fields[key].contents() == field.contents(), key


def test_fewer_bits_make_a_smaller_file(f16_file: Path, tmp_path: Path) -> None:
    """q5_0 and iq4_nl have the bits of their neighbours, and other codes."""
    sizes = []
    for name in ("f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "iq4_xs", "q3_k_m"):
        quant_type = QuantType(name)
        quantize_file(f16_file, tmp_path / quant_type, quant_type, n_threads=1)
        sizes.append((tmp_path / quant_type).stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_importance_changes_codes_and_nothing_else(f16_file: Path, tmp_path: Path) -> None:
    importance = measure_inputs(f16_file, [list(range(100))]).squares
    for name, given in (("without", None), ("with", importance)):
        quantize_file(f16_file, tmp_path / name, QuantType.Q4_0, importance=given)
    plain, weighted = (
        {tensor.name: tensor for tensor in GGUFReader(tmp_path / name).tensors}
        for name in ("without", "with")
    )
    for name, tensor in plain.items():
        assert tensor.tensor_type == weighted[name].tensor_type
        is_same = tensor.data.tobytes() == weighted[name].data.tobytes()
        assert is_same == (name not in importance), name


def test_rows_that_a_type_does_not_take_are_said(f16_file: Path) -> None:
    note = fallback_note(f16_file, QuantType.Q4_K_M)
    assert note is not None and note.startswith("2 of 15 matrices") and "multiple of 256" in note
    assert fallback_note(f16_file, QuantType.Q4_0) is None
    assert fallback_note(f16_file, QuantType.F16) is None


def test_overrides(f16_file: Path, tmp_path: Path) -> None:
    """The first that fits a name counts; names that are no matrix are not meant."""
    overrides = map(Override.parse, ("attn_v=q8_0", r"blk\.1\.=q5_0", "token_embd=f16"))
    target = tmp_path / "m.gguf"
    quantize_file(f16_file, target, QuantType.Q4_0, overrides=list(overrides))
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(target).tensors}
    assert types["blk.0.attn_v.weight"] == types["blk.1.attn_v.weight"] == "Q8_0"
    assert types["blk.1.attn_q.weight"] == types["blk.1.ffn_down.weight"] == "Q5_0"
    assert types["blk.0.attn_q.weight"] == "Q4_0"
    assert types["token_embd.weight"] == "F16"
    assert types["blk.1.attn_norm.weight"] == "F32"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attn_v", "write PATTERN=TYPE"),
        ("=q8_0", "write PATTERN=TYPE"),
        ("attn_v=q4_k_m", "no tensor type 'q4_k_m'"),
        ("(=q8_0", "not a regular expression"),
        ("experts=q8_0", "no matrix of this model has 'experts' in its name"),
        ("attn_norm=q8_0", "no matrix"),
        ("attn_output=q4_k", "has rows of 128 values, and Q4_K takes multiples of 256"),
    ],
)
def test_overrides_that_cannot_be(f16_file: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TypeChoiceError, match=re.escape(message)):
        quantize_file(
            f16_file, tmp_path / "m.gguf", QuantType.Q8_0, overrides=[Override.parse(text)]
        )
    assert list(tmp_path.iterdir()) == []


def test_llama_cpp_prints_nothing(f16_file: Path, tmp_path: Path, capfd) -> None:
    quantize_file(f16_file, tmp_path / "m.gguf", QuantType.Q4_0)
    with pytest.raises(ConversionError):
        quantize_file(tmp_path / "absent.gguf", tmp_path / "n.gguf", QuantType.Q4_0)
    assert capfd.readouterr() == ("", "")


def test_the_log_goes_back_to_whom_it_belonged(f16_file: Path, tmp_path: Path) -> None:
    heard: list[bytes] = []
    theirs = llama_cpp.llama_log_callback(lambda _level, text, _data: heard.append(text))
    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    llama_cpp.llama_log_set(theirs, ctypes.c_void_p())
    try:
        quantize_file(f16_file, tmp_path / "m.gguf", QuantType.Q8_0)
        assert heard == []
        llama_cpp.llama_model_load_from_file(b"absent", llama_cpp.llama_model_default_params())
        assert heard
    finally:
        llama_cpp.llama_log_set(before, data)


def test_a_file_that_is_none_is_refused_with_llama_cpp_s_reason(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(b"not a model")
    with pytest.raises(ConversionError, match="could not quantize to q8_0 \\(.+\\): see that"):
        quantize_file(source, tmp_path / "target.gguf", QuantType.Q8_0)
